//! What the reference implementations' own tests say, as tables of facts: grpc-gateway's and
//! grpc-httpjson-transcoding's. Where ours differs on purpose, the row says why.

mod bodies;
mod masks;
mod paths;
mod queries;
mod routes;
mod templates;
