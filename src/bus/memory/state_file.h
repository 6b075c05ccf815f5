#pragma once

#include <absl/container/inlined_vector.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "bus/memory/records.h"

struct sqlite3;
struct sqlite3_stmt;

namespace virtufin::bus::memory {

/// One key and what it holds from now on; null: nothing.
struct Change {
  std::string key;
  VersionPtr version;
};
using Changes = absl::InlinedVector<Change, 1>;

/// The SQLite file behind the records. Locked for this process alone, because the records in memory
/// are what is read. Its etags are below a ceiling that is in the file before they are given out,
/// so that none is given out twice over restarts.
///
/// Threads: one at a time.
class StateFile {
 public:
  /// `survives_power_loss`: synchronous=FULL, else NORMAL.
  static absl::StatusOr<std::unique_ptr<StateFile>> open(const std::string& path,
                                                         bool survives_power_loss);
  ~StateFile();
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  /// Every record, in the order of keys.
  absl::Status load(const std::function<void(std::string key, VersionPtr version)>& take);
  std::uint64_t etag_ceiling() const { return etag_ceiling_; }

  /// One transaction: all of it is in the file after commit(), or nothing; roll_back() after any
  /// failure. UNAVAILABLE with the path and SQLite's words.
  absl::Status begin();
  absl::Status write(const Change& change);
  absl::Status raise_etag_ceiling(std::uint64_t ceiling);
  absl::Status commit();
  void roll_back();

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  StateFile(std::string path, sqlite3* database) : path_(std::move(path)), database_(database) {}
  absl::Status prepare_schema(bool survives_power_loss);
  absl::Status execute(const char* sql);
  absl::StatusOr<Statement> prepare(const char* sql);
  absl::StatusOr<std::int64_t> read_integer(const char* sql);
  absl::Status step(sqlite3_stmt* statement);
  absl::Status error(std::string_view doing) const;

  const std::string path_;
  sqlite3* const database_;
  std::uint64_t etag_ceiling_ = 0, raised_ceiling_ = 0;
  Statement begin_, commit_, put_, remove_, raise_;
};

}  // namespace virtufin::bus::memory
