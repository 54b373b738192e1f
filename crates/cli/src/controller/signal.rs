//! What ends the process: Ctrl-C, or what a kubelet sends.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Completes at the first SIGINT or SIGTERM. Listens from the call on.
///
/// # Errors
/// When the process may not listen.
pub(super) fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
