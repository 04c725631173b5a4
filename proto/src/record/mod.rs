//! Record batches, format v2 (see `docs/design/log-format.md`).
