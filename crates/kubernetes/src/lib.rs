//! Watches the pods and events of Kubernetes clusters.
