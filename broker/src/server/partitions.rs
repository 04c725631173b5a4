//! Starts and stops this broker's partitions.
