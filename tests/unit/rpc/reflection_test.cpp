#include "rpc/reflection.h"

#include <google/protobuf/descriptor.pb.h>

#include <catch2/catch.hpp>
#include <set>

#include "rows.h"

namespace virtufin::rpc {
namespace {

using namespace test;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

std::set<std::string> names(const ServerReflectionResponse& response) {
  std::set<std::string> files;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    REQUIRE(file.ParseFromString(bytes));
    files.insert(file.name());
  }
  return files;
}

TEST_CASE("reflection shows what the table reaches, and nothing else") {
  MethodTable methods;
  add_get_state(methods);
  Reflection reflection(methods, {});

  ServerReflectionRequest request;
  request.set_list_services("");
  auto response = reflection.answer(request);
  REQUIRE(response.list_services_response().service_size() == 1);
  CHECK(response.list_services_response().service(0).name() == "virtufin.State");

  // By symbol: a method, a message, a field's type; the file comes with what it depends on.
  request.set_file_containing_symbol("virtufin.State.GetState");
  const auto files = names(reflection.answer(request));
  CHECK(files.count("virtufin/state.proto") == 1);
  CHECK(files.count("google/api/annotations.proto") == 1);
  CHECK(files.count("google/protobuf/descriptor.proto") == 1);
  // On the same stream only the file itself comes again.
  request.set_file_containing_symbol("virtufin.StateItem");
  CHECK(names(reflection.answer(request)) == std::set<std::string>{"virtufin/state.proto"});
  request.set_file_by_filename("google/api/http.proto");
  CHECK(names(reflection.answer(request)) == std::set<std::string>{"google/api/http.proto"});

  // websocketmanager.proto is linked into the program, but no row leads there.
  request.set_file_containing_symbol("virtufin.WebSocketManager");
  CHECK(reflection.answer(request).error_response().error_code() == 5);
  request.set_file_by_filename("virtufin/websocketmanager.proto");
  CHECK(reflection.answer(request).error_response().error_code() == 5);

  request.mutable_file_containing_extension()->set_containing_type("google.protobuf.MethodOptions");
  request.mutable_file_containing_extension()->set_extension_number(72295728);
  CHECK(names(reflection.answer(request)).count("google/api/annotations.proto") == 1);
  request.mutable_file_containing_extension()->set_extension_number(1);
  CHECK(reflection.answer(request).error_response().error_code() == 5);
  request.set_all_extension_numbers_of_type("google.protobuf.MethodOptions");
  response = reflection.answer(request);
  REQUIRE(response.all_extension_numbers_response().extension_number_size() == 1);
  CHECK(response.all_extension_numbers_response().extension_number(0) == 72295728);

  response = reflection.answer(ServerReflectionRequest());
  CHECK(response.error_response().error_code() == 3);
}

TEST_CASE("reflection follows the table") {
  MethodTable methods;
  Reflection reflection(methods, {});
  ServerReflectionRequest request;
  request.set_list_services("");
  CHECK(reflection.answer(request).list_services_response().service_size() == 0);
  add_get_state(methods);
  CHECK(reflection.answer(request).list_services_response().service_size() == 1);
  methods.remove("virtufin.State/GetState");
  CHECK(reflection.answer(request).list_services_response().service_size() == 0);
}

}  // namespace
}  // namespace virtufin::rpc
