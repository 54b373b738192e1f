//! A mini control plane around the embedded API: binder, workloads, kubelets, one clock.
