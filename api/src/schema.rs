//! The table of field facts of Kubernetes 1.36 (`api/schema.json`): JSON name, protobuf number, type, list type, patch
//! strategy, required, default. Strict decoding, protobuf decoding, strategic merge and OpenAPI are driven by it.
