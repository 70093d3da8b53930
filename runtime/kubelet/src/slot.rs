//! The input of a pod's worker: one slot where the latest pod wins, and a wake-up.
//! Whoever learns something about the pod puts it here; nobody waits.

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What has changed since the worker last looked.
#[derive(Default)]
pub(crate) struct News {
    /// A newer pod.
    pub pod: Option<Pod>,
    /// The pod's object is gone.
    pub gone: bool,
    /// Its containers may have changed.
    pub look: bool,
}

#[derive(Default)]
pub(crate) struct Slot {
    news: Mutex<News>,
    wake: Notify,
}

impl Slot {
    /// A newer pod replaces one that was not taken yet.
    pub fn put(&self, pod: Pod) {
        self.news.lock().pod = Some(pod);
        self.wake.notify_one();
    }

    /// The pod's object is gone; `last` is how it was then, when known.
    pub fn gone(&self, last: Option<Pod>) {
        let mut news = self.news.lock();
        news.gone = true;
        news.pod = last.or(news.pod.take());
        drop(news);
        self.wake.notify_one();
    }

    /// A container may have changed.
    pub fn look(&self) {
        self.news.lock().look = true;
        self.wake.notify_one();
    }

    /// Takes all there is.
    pub fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock())
    }

    /// Completes when there is something to take. Cancel safe.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}
