#include "bus/memory/state_file.h"

#include <sqlite3.h>

#include <limits>
#include <utility>

#include "core/errors.h"

namespace virtufin::bus::memory {
namespace {

/// Says that the file is ours ("VFst"), and in which form.
constexpr std::int64_t kApplicationId = 0x56467374;
constexpr std::int64_t kFormat = 1;

}  // namespace

void StateFile::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

absl::Status StateFile::error(std::string_view doing) const {
  return unavailable("state file '{}': {} failed: {} (code {}); check the disk and the file", path_,
                     doing, sqlite3_errmsg(database_), sqlite3_extended_errcode(database_));
}

absl::StatusOr<std::unique_ptr<StateFile>> StateFile::open(const std::string& path,
                                                           bool survives_power_loss) {
  sqlite3* database = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &database,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<StateFile> file(new StateFile(path, database));
  if (code != SQLITE_OK) return file->error("opening");
  VIRTUFIN_RETURN_IF_ERROR(file->prepare_schema(survives_power_loss));
  return file;
}

StateFile::~StateFile() {
  for (Statement* statement : {&begin_, &commit_, &put_, &remove_, &raise_}) statement->reset();
  sqlite3_close(database_);
}

absl::Status StateFile::execute(const char* sql) {
  return sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK ? absl::OkStatus()
                                                                              : error(sql);
}

absl::StatusOr<StateFile::Statement> StateFile::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK) {
    return error(sql);
  }
  return Statement(statement);
}

absl::StatusOr<std::int64_t> StateFile::read_integer(const char* sql) {
  auto statement = prepare(sql);
  if (!statement.ok()) return statement.status();
  if (sqlite3_step(statement->get()) != SQLITE_ROW) return error(sql);
  return sqlite3_column_int64(statement->get(), 0);
}

absl::Status StateFile::prepare_schema(bool survives_power_loss) {
  // Before the first access, so that the lock is held from then on and no shared memory is used.
  VIRTUFIN_RETURN_IF_ERROR(execute("PRAGMA locking_mode=EXCLUSIVE"));
  const auto tables = read_integer("SELECT count(*) FROM sqlite_master");
  if (!tables.ok()) {
    if (sqlite3_errcode(database_) == SQLITE_BUSY) {
      return failed_precondition(
          "state file '{}' is in use by another process: stop it, or set state.path", path_);
    }
    return tables.status();
  }
  const auto application = read_integer("PRAGMA application_id");
  if (!application.ok()) return application.status();
  const auto format = read_integer("PRAGMA user_version");
  if (!format.ok()) return format.status();
  if (*tables != 0 && *application != kApplicationId) {
    return failed_precondition("'{}' is a database, but no state file of ours: set state.path",
                               path_);
  }
  if (*tables != 0 && *format != kFormat) {
    return failed_precondition("state file '{}' has format {}, this version reads {}", path_,
                               *format, kFormat);
  }
  VIRTUFIN_RETURN_IF_ERROR(execute("PRAGMA journal_mode=WAL"));
  VIRTUFIN_RETURN_IF_ERROR(
      execute(survives_power_loss ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  if (*tables == 0) {
    VIRTUFIN_RETURN_IF_ERROR(execute(
        "BEGIN IMMEDIATE;"
        "CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB NOT NULL, etag INTEGER NOT NULL,"
        " expiry_ns INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO numbers VALUES ('etag_ceiling', 1);"));
    VIRTUFIN_RETURN_IF_ERROR(
        execute(fmt::format("PRAGMA application_id={}", kApplicationId).c_str()));
    VIRTUFIN_RETURN_IF_ERROR(execute(fmt::format("PRAGMA user_version={}", kFormat).c_str()));
    VIRTUFIN_RETURN_IF_ERROR(execute("COMMIT"));
  }
  const auto ceiling = read_integer("SELECT value FROM numbers WHERE name='etag_ceiling'");
  if (!ceiling.ok()) return ceiling.status();
  etag_ceiling_ = raised_ceiling_ = static_cast<std::uint64_t>(*ceiling);

  const std::pair<Statement*, const char*> statements[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&put_, "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4)"},
      {&remove_, "DELETE FROM records WHERE key=?1"},
      {&raise_, "UPDATE numbers SET value=?1 WHERE name='etag_ceiling'"},
  };
  for (const auto& [statement, sql] : statements) {
    auto prepared = prepare(sql);
    if (!prepared.ok()) return prepared.status();
    *statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

absl::Status StateFile::load(const std::function<void(std::string, VersionPtr)>& take) {
  auto statement = prepare("SELECT key, value, etag, expiry_ns FROM records ORDER BY key");
  if (!statement.ok()) return statement.status();
  sqlite3_stmt* const row = statement->get();
  const auto text = [&](int column) {
    // The pointer first: asking for it may convert, and the length is of what it became.
    const void* const bytes = sqlite3_column_blob(row, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(row, column));
    return size == 0 ? std::string() : std::string(static_cast<const char*>(bytes), size);
  };
  for (;;) {
    const int code = sqlite3_step(row);
    if (code == SQLITE_DONE) return absl::OkStatus();
    if (code != SQLITE_ROW) return error("reading the records");
    std::string key = text(0);
    VersionPtr version(
        new Version(text(1), static_cast<std::uint64_t>(sqlite3_column_int64(row, 2)),
                    TimePoint(std::chrono::nanoseconds(sqlite3_column_int64(row, 3)))));
    take(std::move(key), std::move(version));
  }
}

absl::Status StateFile::step(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  absl::Status status = code == SQLITE_DONE ? absl::OkStatus() : error("writing");
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

absl::Status StateFile::begin() { return step(begin_.get()); }

absl::Status StateFile::write(const Change& change) {
  sqlite3_stmt* const statement = change.version ? put_.get() : remove_.get();
  // Static: the change outlives the step.
  int code = sqlite3_bind_text64(statement, 1, change.key.data(), change.key.size(), SQLITE_STATIC,
                                 SQLITE_UTF8);
  if (change.version && code == SQLITE_OK) {
    const Version& version = *change.version;
    code = sqlite3_bind_blob64(statement, 2, version.value.data(), version.value.size(),
                               SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, static_cast<sqlite3_int64>(version.etag));
    sqlite3_bind_int64(statement, 4, version.expiry.time_since_epoch().count());
  }
  if (code != SQLITE_OK) return error("binding");
  return step(statement);
}

absl::Status StateFile::raise_etag_ceiling(std::uint64_t ceiling) {
  sqlite3_bind_int64(raise_.get(), 1, static_cast<sqlite3_int64>(ceiling));
  VIRTUFIN_RETURN_IF_ERROR(step(raise_.get()));
  raised_ceiling_ = ceiling;
  return absl::OkStatus();
}

absl::Status StateFile::commit() {
  VIRTUFIN_RETURN_IF_ERROR(step(commit_.get()));
  etag_ceiling_ = raised_ceiling_;
  return absl::OkStatus();
}

void StateFile::roll_back() {
  raised_ceiling_ = etag_ceiling_;
  // Some errors have rolled back already.
  if (sqlite3_get_autocommit(database_) == 0) {
    sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

}  // namespace virtufin::bus::memory
