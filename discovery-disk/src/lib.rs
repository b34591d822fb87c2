//! Disk stores and kubectl's discovery files as tower layers
