//! Ownership of concurrent work: whoever starts it joins it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::thread::JoinHandle;

use tokio::task::JoinSet;

/// Why a task ended other than by returning.
#[derive(Debug, thiserror::Error)]
#[error("task '{name}' panicked: {message}")]
pub struct TaskFailure {
    /// The name that the task was started under.
    pub name: &'static str,
    /// The panic's message.
    pub message: String,
}

/// A set of asynchronous tasks with one owner. Dropping the set aborts those still running.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<&'static str>,
    names: std::collections::HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` under `name`. Must be called within a tokio runtime.
    pub fn spawn(&mut self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(async move {
            future.await;
            name
        });
        self.names.insert(handle.id(), name);
    }

    /// Waits until the next task ends and returns its name; `None` when the set is empty.
    ///
    /// Cancellation safe: a task's end is not lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// The task panicked.
    pub async fn join_next(&mut self) -> Option<Result<&'static str, TaskFailure>> {
        loop {
            match self.set.join_next_with_id().await? {
                Ok((id, name)) => {
                    self.names.remove(&id);
                    return Some(Ok(name));
                }
                Err(error) => {
                    let name = self.names.remove(&error.id()).unwrap_or("unknown");
                    if error.is_cancelled() {
                        continue;
                    }
                    let message = panic_message(error.into_panic());
                    return Some(Err(TaskFailure { name, message }));
                }
            }
        }
    }

    /// Returns the number of tasks that have not been joined.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Returns whether every task has been joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Aborts every task at its next await point; [`Tasks::join_next`] skips them.
    pub fn abort_all(&mut self) {
        self.set.abort_all();
    }
}

/// A set of threads with one owner. Each must end by itself once it is told to.
#[derive(Debug, Default)]
pub struct Threads {
    handles: Vec<(&'static str, JoinHandle<Result<(), String>>)>,
}

impl Threads {
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `work` on a thread called `name` (at most 15 bytes are visible in `top`).
    ///
    /// `on_panic` runs on that thread when `work` panics, so that the rest of the process hears of it at once.
    ///
    /// # Errors
    ///
    /// The operating system has no thread to give.
    pub fn spawn(
        &mut self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
        on_panic: impl FnOnce(&str) + Send + 'static,
    ) -> std::io::Result<()> {
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
                let message = panic_message(panic);
                on_panic(&message);
                message
            })
        })?;
        self.handles.push((name, handle));
        Ok(())
    }

    /// Waits for every thread, the last started first.
    ///
    /// # Errors
    ///
    /// Those that panicked.
    pub fn join(mut self) -> Result<(), Vec<TaskFailure>> {
        let mut failures = Vec::new();
        while let Some((name, handle)) = self.handles.pop() {
            match handle.join() {
                Ok(Ok(())) => {}
                Ok(Err(message)) => failures.push(TaskFailure { name, message }),
                Err(panic) => failures.push(TaskFailure { name, message: panic_message(panic) }),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

/// Returns what a panic said, from what was caught.
#[must_use]
pub fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => match panic.downcast::<&'static str>() {
            Ok(message) => (*message).to_owned(),
            Err(_) => "no message".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panicking_task_is_reported_by_name() {
        let mut tasks = Tasks::new();
        tasks.spawn("fragile", async { panic!("broke {}", 1) });
        let failure = tasks.join_next().await.expect("one task").expect_err("it panicked");
        assert_eq!((failure.name, failure.message.as_str()), ("fragile", "broke 1"));
        assert!(tasks.join_next().await.is_none());
    }

    #[test]
    fn a_panicking_thread_tells_its_owner_at_once_and_again_at_join() {
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let mut threads = Threads::new();
        threads
            .spawn("fragile", || panic!("broke"), move |_| tell.store(true, Ordering::SeqCst))
            .expect("a thread");
        let failures = threads.join().expect_err("it panicked");
        assert_eq!(failures[0].message, "broke");
        assert!(told.load(Ordering::SeqCst));
    }
}
