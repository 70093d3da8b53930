//! Named tasks with an owner.
//!
//! A group ends in one of two ways: [`TaskGroup::shutdown`] asks every task to
//! stop and waits, or the last clone of the group is dropped and the tasks are
//! told to stop without anyone waiting. A task that fails stops its group.
#![allow(clippy::disallowed_methods)] // the one place that spawns

use parking_lot::Mutex;
use std::{fmt::Display, future::Future, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error, info_span};

/// What the failure of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The group cannot do its work without it: stop them all.
    StopGroup,
    /// It is one of many (a connection, a pod): log and go on.
    Log,
}

/// A set of tasks that live and end together. Clones are the same group.
#[derive(Clone)]
pub struct TaskGroup {
    shared: Arc<Shared>,
}

struct Shared {
    tracker: TaskTracker,
    stop: CancellationToken,
    failure: Mutex<Option<String>>,
    runtime: Handle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TaskGroup {
    /// A group whose tasks run on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> Self {
        Self::on(Handle::current())
    }

    /// A group whose tasks run on `runtime`.
    pub fn on(runtime: Handle) -> Self {
        let (tracker, stop, failure) = (TaskTracker::new(), CancellationToken::new(), Mutex::new(None));
        Self { shared: Arc::new(Shared { tracker, stop, failure, runtime }) }
    }

    /// A group that stops when this one does, and may stop before.
    pub fn child(&self) -> Self {
        let (tracker, stop) = (TaskTracker::new(), self.shared.stop.child_token());
        let (failure, runtime) = (Mutex::new(None), self.shared.runtime.clone());
        Self { shared: Arc::new(Shared { tracker, stop, failure, runtime }) }
    }

    /// Cancelled when the group is told to stop. Long tasks select on it.
    pub fn stopping(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Runs `task` until it ends or the group stops, whichever is first: at a
    /// stop the future is dropped at its next await. A task with work to finish
    /// goes through [`TaskGroup::spawn_to_completion`].
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        on_error: OnError,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (stop, task) = (self.stopping(), Box::pin(task));
        self.spawn_to_completion(name, on_error, async move {
            tokio::select! {
                biased; // a stop wins over more work
                () = stop.cancelled() => Ok(()),
                result = task => result,
            }
        });
    }

    /// Runs `task` to its own end; it watches [`TaskGroup::stopping`] itself.
    pub fn spawn_to_completion<E: Display>(
        &self,
        name: &'static str,
        on_error: OnError,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        // Weak: a task must not keep its own group alive. In a box: an async block has
        // room twice for a future that it is given, where it came and where it is
        // awaited. Two such wrappers made 39 KB of a pod worker's 10.
        let (group, task) = (Arc::downgrade(&self.shared), Box::pin(task));
        let task = async move {
            let Err(failure) = task.await else { return };
            error!(error = %failure, "task failed");
            if let (OnError::StopGroup, Some(group)) = (on_error, group.upgrade()) {
                group.failure.lock().get_or_insert_with(|| format!("{name}: {failure}"));
                group.stop.cancel();
            }
        };
        self.shared.tracker.spawn_on(task.instrument(info_span!("task", name)), &self.shared.runtime);
    }

    /// Tells every task to stop and waits up to `deadline` for them.
    ///
    /// # Errors
    /// The first failure of a [`OnError::StopGroup`] task, or that some tasks
    /// had not ended in time.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), String> {
        self.shared.stop.cancel();
        self.shared.tracker.close();
        let drained = tokio::time::timeout(deadline, self.shared.tracker.wait()).await;
        if let Some(failure) = self.shared.failure.lock().take() {
            return Err(failure);
        }
        drained.map_err(|_| format!("{} tasks had not ended after {deadline:?}", self.shared.tracker.len()))
    }

    /// Tasks that have not ended.
    pub fn len(&self) -> usize {
        self.shared.tracker.len()
    }

    /// Whether every task has ended.
    pub fn is_empty(&self) -> bool {
        self.shared.tracker.is_empty()
    }
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failed_task_stops_its_group_and_names_itself() {
        let group = TaskGroup::new();
        group.spawn("forever", OnError::StopGroup, std::future::pending::<Result<(), String>>());
        group.spawn("broken", OnError::StopGroup, async { Err("no disk") });
        group.stopping().cancelled().await;
        assert_eq!(group.shutdown(Duration::from_secs(1)).await, Err("broken: no disk".to_owned()));
        assert!(group.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_many_may_fail() {
        let group = TaskGroup::new();
        group.spawn("connection", OnError::Log, async { Err("reset") });
        tokio::task::yield_now().await;
        assert!(!group.stopping().is_cancelled());
        assert_eq!(group.shutdown(Duration::from_secs(1)).await, Ok(()));
    }

    #[tokio::test]
    async fn a_child_stops_with_its_parent_and_not_the_other_way() {
        let parent = TaskGroup::new();
        let (first, second) = (parent.child(), parent.child());
        first.shutdown(Duration::from_secs(1)).await.expect("nothing to wait for");
        assert!(!parent.stopping().is_cancelled() && !second.stopping().is_cancelled());
        parent.shutdown(Duration::from_secs(1)).await.expect("nothing to wait for");
        assert!(second.stopping().is_cancelled());
    }
}
