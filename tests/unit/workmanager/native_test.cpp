// The native engine: packages, answers of workers, what the host offers them.

#include <dlfcn.h>
#include <zip.h>

#include <worker_api_generated.h>

#include "modules/workmanager/engines/native/native_engine.h"
#include "modules/workmanager/engines/native/package.h"
#include "modules/workmanager/engines/native/response.h"
#include "unit/workmanager/rig.h"

namespace virtufin::workmanager::test {
namespace {

namespace fb = Virtufin::Worker::FlatBuffers;
using Files = std::vector<std::pair<std::string, std::string>>;

std::string make_zip(const Files& files) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* target = zip_source_buffer_create(nullptr, 0, 0, &error);
  zip_t* zip = zip_open_from_source(target, ZIP_TRUNCATE, &error);
  REQUIRE(zip != nullptr);
  zip_source_keep(target);
  for (const auto& [name, content] : files) {
    zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
    REQUIRE(zip_file_add(zip, name.c_str(), source, ZIP_FL_ENC_UTF_8) >= 0);
  }
  REQUIRE(zip_close(zip) == 0);
  REQUIRE(zip_source_open(target) == 0);
  zip_source_seek(target, 0, SEEK_END);
  std::string out(static_cast<std::size_t>(zip_source_tell(target)), '\0');
  zip_source_seek(target, 0, SEEK_SET);
  zip_source_read(target, out.data(), out.size());
  zip_source_close(target);
  zip_source_free(target);
  return out;
}

std::string nuspec(std::string_view metadata) {
  return "<?xml version=\"1.0\"?><package xmlns=\"urn:n\"><metadata>" + std::string(metadata) +
         "</metadata></package>";
}
const std::string kSound = nuspec("<id>puppet</id><virtufinAbiVersion>1</virtufinAbiVersion>");
std::string library_path() {
  return "runtimes/" + std::string(native::host_rid()) + "/native/libpuppet.so";
}

void check_refused(const std::string& code, absl::StatusCode expected, const std::string& words,
                   const CodeLimits& limits = {}) {
  const auto result = native::unpack(as_bytes(code), limits);
  CAPTURE(result.status().ToString());
  CHECK(result.status().code() == expected);
  CHECK_THAT(std::string(message(result.status())), Catch::Contains(words));
}

class CollectingSink final : public OutputSink {
 public:
  absl::Status output(const EventFields& fields) override {
    types.emplace_back(fields.type);
    extensions = fields.extensions.size();
    return absl::OkStatus();
  }
  void report(std::string_view message) override { reports.emplace_back(message); }
  std::vector<std::string> types, reports;
  std::size_t extensions = 0;
};

}  // namespace

TEST_CASE("a library, a nupkg and a zip with a manifest hold the same library") {
  const std::string library = puppet_code();
  const auto check = [&](const std::string& code) {
    auto unpacked = native::unpack(as_bytes(code), {});
    INFO(unpacked.status().ToString());
    REQUIRE(unpacked.ok());
    CHECK(as_text(unpacked->bytes) == library);
    CHECK(unpacked->entry_point == "Process");
    CHECK(unpacked->free_result == "FreeResult");
  };
  check(library);
  check(make_zip({{"puppet.nuspec", kSound}, {library_path(), library}}));
  check(make_zip({{"x.nuspec", nuspec("<id>x</id><virtufinAbiVersion>1</virtufinAbiVersion>"
                                      "<virtufinLibrary>puppet</virtufinLibrary>")},
                  {library_path(), library}}));
  check(make_zip(
      {{"manifest.json", R"({"abi_version":1,"library":"puppet"})"}, {library_path(), library}}));
  check(make_zip({{"manifest.json", R"({"abi_version":"1","library":"libpuppet.so"})"},
                  {"libpuppet.so", library}}));
}

TEST_CASE("a package can name its functions") {
  auto unpacked = native::unpack(
      as_bytes(make_zip({{"p.nuspec", nuspec("<id>puppet</id>"
                                             "<virtufinAbiVersion>1</virtufinAbiVersion>"
                                             "<virtufinEntryPoint>Go</virtufinEntryPoint>"
                                             "<virtufinFreeResult>Drop</virtufinFreeResult>")},
                         {library_path(), puppet_code()}})),
      {});
  REQUIRE(unpacked.ok());
  CHECK(unpacked->entry_point == "Go");
  CHECK(unpacked->free_result == "Drop");
}

TEST_CASE("a bad package is refused with what is wrong with it") {
  using absl::StatusCode;
  const std::string library = puppet_code();
  check_refused("", StatusCode::kInvalidArgument, "empty");
  check_refused("PK\x03\x04 rest", StatusCode::kInvalidArgument, "not a sound zip");
  check_refused(make_zip({{"a.txt", "x"}}), StatusCode::kInvalidArgument, "it holds: a.txt");
  check_refused(make_zip({{"a.nuspec", "<package>"}}), StatusCode::kInvalidArgument, "not XML");
  check_refused(make_zip({{"a.nuspec", nuspec("<id>a</id>")}}), StatusCode::kInvalidArgument,
                "virtufinAbiVersion");
  check_refused(make_zip({{"a.nuspec", nuspec("<id>a</id><virtufinAbiVersion>2"
                                              "</virtufinAbiVersion>")}}),
                StatusCode::kInvalidArgument, "version '2'");
  check_refused(make_zip({{"a.nuspec", nuspec("<id>../a</id><virtufinAbiVersion>1"
                                              "</virtufinAbiVersion>")}}),
                StatusCode::kInvalidArgument, "names the library");
  check_refused(make_zip({{"a.nuspec", kSound}, {"b.nuspec", kSound}}),
                StatusCode::kInvalidArgument, "two nuspecs");
  check_refused(make_zip({{"../evil.so", library}, {"a.nuspec", kSound}}),
                StatusCode::kInvalidArgument, "leaves its folder");
  check_refused(make_zip({{"manifest.json", "[]"}}), StatusCode::kInvalidArgument,
                "not a JSON object");
  // Another architecture's package, and another architecture's library in the right place.
  check_refused(make_zip({{"a.nuspec", kSound}, {"runtimes/win-x64/native/puppet.dll", "x"}}),
                StatusCode::kFailedPrecondition, "runtimes/win-x64/native/puppet.dll");
  std::string foreign = library;
  foreign[18] = '\xf3';  // e_machine: RISC-V
  foreign[19] = '\0';
  check_refused(foreign, StatusCode::kFailedPrecondition, "RISC-V");
  check_refused(make_zip({{"a.nuspec", kSound}, {library_path(), foreign}}),
                StatusCode::kFailedPrecondition, "the package holds: a.nuspec");
}

TEST_CASE("a package's limits hold") {
  using absl::StatusCode;
  const std::string library = puppet_code();
  const std::string package = make_zip({{"a.nuspec", kSound}, {library_path(), library}});
  CodeLimits limits;
  limits.max_code_bytes = 10;
  check_refused(package, StatusCode::kInvalidArgument, "max_code_bytes", limits);
  limits = {};
  limits.max_package_entries = 1;
  check_refused(package, StatusCode::kInvalidArgument, "max_package_entries", limits);
  limits = {};
  limits.max_manifest_bytes = 10;
  check_refused(package, StatusCode::kInvalidArgument, "max_manifest_bytes", limits);
  limits = {};
  limits.max_library_bytes = static_cast<std::int64_t>(library.size()) - 1;
  check_refused(package, StatusCode::kInvalidArgument, "max_library_bytes", limits);
}

TEST_CASE("a library that does not load says it in the loader's words") {
  Rig rig;
  native::NativeEngine engine({}, "", rig.methods);
  // Cut off, the loader would map what is not there and end the process: it does not come to that.
  for (const std::size_t length : {std::size_t{64}, std::size_t{200}, std::size_t{4096}}) {
    const std::string cut = puppet_code().substr(0, length);
    const auto bad = engine.load({.worker_id = "w", .first_topic = "t", .code = as_bytes(cut)});
    CHECK(bad.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(bad.status())), Catch::Contains("cut off"));
  }
  const std::string needy = read_file(VIRTUFIN_TEST_WORKERS "/libneedy.so");
  const auto bad = engine.load({.worker_id = "w", .first_topic = "t", .code = as_bytes(needy)});
  CHECK(bad.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(message(bad.status())),
             Catch::Contains("the library does not load: ") &&
                 Catch::Contains("virtufin_test_symbol_that_nobody_has"));

  const std::string other =
      make_zip({{"a.nuspec", nuspec("<id>puppet</id><virtufinAbiVersion>1</virtufinAbiVersion>"
                                    "<virtufinEntryPoint>Missing</virtufinEntryPoint>")},
                {library_path(), puppet_code()}});
  const auto missing = engine.load({.worker_id = "w", .first_topic = "t", .code = as_bytes(other)});
  CHECK_THAT(std::string(message(missing.status())), Catch::Contains("exports no Missing"));
}

TEST_CASE("two workers of the same code share nothing, and each knows itself") {
  Rig rig;
  rig.start();
  Listener out(rig.bus, {"com.example.identity"});
  const auto a = rig.create(Rig::request({"a", "b"}));
  const auto b = rig.create(Rig::request({"b"}));
  rig.publish("a", "identity");
  CHECK(out.wait(1)[0].data() == a + " a");
  REQUIRE(rig.stop_worker(a).ok());
  rig.publish("b", "identity");
  CHECK(out.wait(2)[1].data() == b + " b");
}

TEST_CASE("a worker calls the platform by the table, unless it runs inline") {
  Rig rig;
  rig.start();
  Listener out(rig.bus, {"com.example.called"});
  const auto id = rig.create(Rig::request({"in"}));
  rig.publish("in", "call ListWorkers");
  const std::string answer = out.wait(1)[0].data();
  CHECK_THAT(answer, Catch::StartsWith("0 {\"workers\":[{\"id\":\"" + id));
  rig.publish("in", "call NoSuchMethod");
  CHECK_THAT(out.wait(2)[1].data(), Catch::StartsWith("5 {\"code\":5,"));
  REQUIRE(rig.delete_worker(id).ok());
  auto request = Rig::request({"in"});
  request.set_dispatch("inline");
  rig.create(request);
  rig.publish("in", "call ListWorkers");
  CHECK_THAT(out.wait(3)[2].data(), Catch::StartsWith("9 {\"code\":9,"));
}

TEST_CASE("what a worker returns is verified, at any address, and freed once") {
  Rig rig;
  native::NativeEngine engine({}, "", rig.methods);
  const std::string library = read_file(VIRTUFIN_TEST_WORKERS "/libraw.so");
  auto code = engine.load({.worker_id = "w", .first_topic = "t", .code = as_bytes(library)});
  INFO(code.status().ToString());
  REQUIRE(code.ok());

  flatbuffers::FlatBufferBuilder builder;
  const auto response = [&](bool event, const char* error) {
    builder.Clear();
    flatbuffers::Offset<fb::CloudEvent> made;
    if (event) {
      const std::vector<flatbuffers::Offset<fb::Extension>> extensions = {
          fb::CreateExtensionDirect(builder, "one", "1"),
          fb::CreateExtensionDirect(builder, nullptr, nullptr)};
      made = fb::CreateCloudEventDirect(builder, nullptr, "made", nullptr, nullptr, nullptr,
                                        nullptr, nullptr, nullptr, nullptr, &extensions);
    }
    const auto text =
        error != nullptr ? builder.CreateString(error) : flatbuffers::Offset<flatbuffers::String>{};
    builder.Finish(fb::CreateWorkerResponse(builder, made, text));
    return std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()),
                       builder.GetSize());
  };
  const auto call = [&](const std::string& bytes, const char* exit_code, CollectingSink& sink) {
    return (*code)->process(*rig.event(bytes, {}, exit_code), sink);
  };
  CollectingSink sink;
  CHECK(call(response(true, nullptr), "0", sink).ok());
  CHECK(sink.types == std::vector<std::string>{"made"});
  CHECK(sink.extensions == 2);
  CHECK(call(response(true, "told"), "0", sink).ok());
  CHECK(sink.types.size() == 2);
  CHECK(sink.reports == std::vector<std::string>{"told"});
  CHECK(call(response(false, nullptr), "0", sink).ok());
  CHECK(message(call(response(false, "broken"), "0", sink)) == "broken");
  CHECK(message(call(response(false, "why"), "7", sink)) == "Process returned 7: why");
  CHECK(message(call(response(true, nullptr), "7", sink)) == "Process returned 7");
  CHECK(message(call("garbage", "-3", sink)) == "Process returned -3");
  CHECK(call("", "0", sink).code() == absl::StatusCode::kInvalidArgument);
  CHECK(sink.types.size() == 2);

  // Every cut and every flipped byte is either refused or read within bounds.
  const std::string whole = response(true, "told");
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CollectingSink ignored;
    (void)call(whole.substr(0, i), "0", ignored);
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 0xff);
    (void)call(flipped, "0", ignored);
  }
  CHECK(call("nonsense that is long enough to hold an offset", "0", sink).code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("FreeResult is called once for each buffer, whatever Process returned") {
  // Through the same path as the host's, with the count that the worker keeps.
  Rig rig;
  rig.start();
  auto request = Rig::request({"in"});
  request.mutable_code_source()->set_content(read_file(VIRTUFIN_TEST_WORKERS "/libraw.so"));
  request.mutable_retry()->set_max_attempts(1);
  const auto id = rig.create(request);
  for (const char* code : {"0", "1", "2"}) rig.publish("in", rig.event("garbage", {}, code));
  REQUIRE(eventually([&] { return rig.info(id).dead_lettered() == 3; }));
}

}  // namespace virtufin::workmanager::test
