//! Volumes on a real disk, from objects in memory.

use super::*;
use crate::objects::Reference;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ServiceAccountTokenProjection;
use serde_json::{Value, json};
use std::time::Duration;

struct FakeTokens(Result<&'static str, TokenError>);

#[async_trait]
impl TokenSource for FakeTokens {
    async fn token(&self, _: &Pod, _: &ServiceAccountTokenProjection) -> Result<(String, Duration), TokenError> {
        self.0.clone().map(|token| (token.to_owned(), Duration::from_secs(1_000)))
    }
}

struct Fixture {
    root: tempfile::TempDir,
    tokens: FakeTokens,
    references: References,
}

impl Fixture {
    fn new() -> Self {
        let config_map = json!({"metadata": {}, "data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}});
        let secret = json!({"metadata": {}, "data": {"password": "aHVzaA=="}});
        let references = References {
            config_maps: [
                ("cm".to_owned(), Reference::fixed(serde_json::from_value(config_map).ok())),
                ("no".to_owned(), Reference::fixed(None)),
            ]
            .into(),
            secrets: [("s".to_owned(), Reference::fixed(serde_json::from_value(secret).ok()))].into(),
        };
        Self { root: tempfile::tempdir().expect("a directory"), tokens: FakeTokens(Ok("jwt")), references }
    }

    /// Makes one volume `v`; its directory and the rest.
    async fn make(&self, mut volume: Value) -> Result<(PathBuf, Volumes), VolumeError> {
        volume["name"] = json!("v");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "m"}], "volumes": [volume]}}))
        .expect("a pod");
        let (place, now) = (Place::default(), Timestamp::from_second(1_000).expect("in range"));
        let sources = Sources { pod: &pod, references: &self.references, place: &place, tokens: &self.tokens, now };
        let volumes = prepare(self.root.path(), &sources).await?;
        Ok((volumes.by_name["v"].path.clone(), volumes))
    }
}

fn text(path: PathBuf) -> String {
    std::fs::read_to_string(path).expect("a file")
}

#[tokio::test]
async fn an_empty_dir_is_there_and_can_be_written() {
    let fixture = Fixture::new();
    let (path, volumes) = fixture.make(json!({"emptyDir": {}})).await.expect("a volume");
    assert_eq!(path, fixture.root.path().join("pods/u1/volumes/kubernetes.io~empty-dir/v"));
    assert!(path.is_dir() && !volumes.by_name["v"].readonly);
    remove(fixture.root.path(), "u1").expect("it can be removed");
    remove(fixture.root.path(), "u1").expect("it is fine when it is gone");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_config_map_is_a_file_per_key() {
    let fixture = Fixture::new();
    let (path, volumes) = fixture.make(json!({"configMap": {"name": "cm"}})).await.expect("a volume");
    assert_eq!((text(path.join("a")), text(path.join("b"))), ("1".to_owned(), "2".to_owned()));
    assert_eq!(std::fs::read(path.join("c")).expect("a file"), [0, 1]);
    assert!(volumes.by_name["v"].readonly);
}

#[tokio::test]
async fn items_choose_keys_paths_and_modes() {
    use std::os::unix::fs::PermissionsExt;
    let items = json!([{"key": "a", "path": "etc/x", "mode": 0o400}]);
    let fixture = Fixture::new();
    let (path, _) = fixture.make(json!({"configMap": {"name": "cm", "items": items}})).await.expect("a volume");
    assert_eq!(text(path.join("etc/x")), "1");
    assert!(!path.join("b").exists());
    let mode = std::fs::metadata(path.join("etc/x")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
}

#[tokio::test]
async fn a_missing_object_waits_for_it_and_an_optional_one_is_empty() {
    let fixture = Fixture::new();
    let error = fixture.make(json!({"configMap": {"name": "no"}})).await.expect_err("missing");
    assert_eq!(error.to_string(), r#"MountVolume.SetUp failed for volume "v" : configmap "no" not found"#);
    assert!(error.waits_for_objects);
    let items = json!([{"key": "z", "path": "z"}]);
    let error = fixture.make(json!({"configMap": {"name": "cm", "items": items}})).await.expect_err("missing");
    assert!(error.message.contains("non-existent") && error.waits_for_objects);
    let (path, _) = fixture.make(json!({"configMap": {"name": "no", "optional": true}})).await.expect("a volume");
    assert!(path.is_dir());
}

#[tokio::test]
async fn projected_sources_share_a_directory() {
    let sources = json!([
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"serviceAccountToken": {"path": "token"}},
    ]);
    let mut fixture = Fixture::new();
    let (path, volumes) = fixture.make(json!({"projected": {"sources": sources}})).await.expect("a volume");
    let read = |name: &str| text(path.join(name));
    assert_eq!([read("ca.crt"), read("password"), read("namespace"), read("token")], ["1", "hush", "shop", "jwt"]);
    assert_eq!(volumes.refresh_at.map(|at| at.as_second()), Some(1_800));
    fixture.tokens = FakeTokens(Err(TokenError::Unsupported));
    let (path, volumes) = fixture.make(json!({"projected": {"sources": sources}})).await.expect("a volume");
    assert!(!path.join("token").exists() && volumes.warnings.len() == 1);
}

#[tokio::test]
async fn host_paths_are_checked_by_type() {
    let fixture = Fixture::new();
    let there = fixture.root.path().to_string_lossy().into_owned();
    let make = |path: String, type_: &'static str| {
        let fixture = &fixture;
        async move { fixture.make(json!({"hostPath": {"path": path, "type": type_}})).await.map(|(path, _)| path) }
    };
    assert!(make(there.clone(), "Directory").await.is_ok());
    let error = make(there.clone(), "File").await.expect_err("not a file");
    assert!(error.message.contains("is not a file"), "{error}");
    assert!(make(format!("{there}/new"), "DirectoryOrCreate").await.is_ok_and(|path| path.is_dir()));
    assert!(make(format!("{there}/file"), "FileOrCreate").await.is_ok_and(|path| path.is_file()));
    assert!(make(format!("{there}/none"), "Directory").await.is_err());
}

#[tokio::test]
async fn unknown_volumes_say_so() {
    let claim = json!({"persistentVolumeClaim": {"claimName": "c"}});
    let error = Fixture::new().make(claim).await.expect_err("no such volume");
    assert!(!error.waits_for_objects && error.message.contains("no volumes of this type"));
}

#[tokio::test]
async fn sub_paths_are_made_and_stay_inside() {
    let fixture = Fixture::new();
    let (path, volumes) = fixture.make(json!({"emptyDir": {}})).await.expect("a volume");
    let mount = |host_path: PathBuf| [wk_cri::Mount { container_path: "/d".to_owned(), host_path, readonly: false }];
    make_sub_paths(&mount(path.join("a/b")), &volumes.by_name).expect("a directory");
    assert!(path.join("a/b").is_dir());
    std::os::unix::fs::symlink("/", path.join("out")).expect("a link");
    assert!(make_sub_paths(&mount(path.join("out/etc")), &volumes.by_name).is_err());
}
