#include "core/errors.h"

#include <catch2/catch.hpp>

using absl::StatusCode;

TEST_CASE("codes have gRPC's names and the contract's HTTP statuses") {
  const struct {
    StatusCode code;
    const char* name;
    int http;
  } kTable[] = {
      {StatusCode::kOk, "OK", 200},
      {StatusCode::kInvalidArgument, "INVALID_ARGUMENT", 400},
      {StatusCode::kFailedPrecondition, "FAILED_PRECONDITION", 400},
      {StatusCode::kUnauthenticated, "UNAUTHENTICATED", 401},
      {StatusCode::kPermissionDenied, "PERMISSION_DENIED", 403},
      {StatusCode::kNotFound, "NOT_FOUND", 404},
      {StatusCode::kAlreadyExists, "ALREADY_EXISTS", 409},
      {StatusCode::kAborted, "ABORTED", 409},
      {StatusCode::kResourceExhausted, "RESOURCE_EXHAUSTED", 429},
      {StatusCode::kUnimplemented, "UNIMPLEMENTED", 501},
      {StatusCode::kUnavailable, "UNAVAILABLE", 503},
      {StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED", 504},
      {StatusCode::kInternal, "INTERNAL", 500},
      {StatusCode::kUnknown, "UNKNOWN", 500},
      {StatusCode::kDataLoss, "DATA_LOSS", 500},
      {StatusCode::kCancelled, "CANCELLED", 500},
      {StatusCode::kOutOfRange, "OUT_OF_RANGE", 500},
  };
  for (const auto& row : kTable) {
    CHECK(virtufin::code_name(row.code) == row.name);
    CHECK(virtufin::http_status(row.code) == row.http);
  }
}

TEST_CASE("context goes in front and keeps the code") {
  const auto status =
      virtufin::with_context(virtufin::not_found("no worker '{}'", "w1"), "StartWorker");
  CHECK(status.code() == StatusCode::kNotFound);
  CHECK(virtufin::message(status) == "StartWorker: no worker 'w1'");
  CHECK(virtufin::with_context(absl::OkStatus(), "x").ok());
}
