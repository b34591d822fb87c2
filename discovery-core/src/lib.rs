//! Vocabulary, codecs, contracts and sans-I/O engine of Kubernetes discovery caching
