//! Kinds of the group `storage.k8s.io`.

pub mod storage_class;
