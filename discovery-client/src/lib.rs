//! A typed Kubernetes discovery client over stacked caching layers
