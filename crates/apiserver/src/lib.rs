//! The Kubernetes API in memory, as a tower service.
