#include "modules/wsm/net/tls.h"

#include <boost/asio/ssl.hpp>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::wsm {
namespace {

namespace ssl = boost::asio::ssl;

constexpr std::size_t kMaxContexts = 64;  // callers name the files: what they name is bounded

}  // namespace

absl::StatusOr<TlsContextPtr> TlsContexts::get(const std::string& ca_file) {
  const std::lock_guard lock(mutex_);
  if (const auto found = contexts_.find(ca_file); found != contexts_.end()) return found->second;
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  boost::system::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                           ssl::context::no_sslv3 | ssl::context::no_tlsv1 |
                           ssl::context::no_tlsv1_1,
                       error);
  if (!error) context->set_verify_mode(ssl::verify_peer, error);
  if (!error) {
    if (ca_file.empty()) {
      context->set_default_verify_paths(error);
    } else {
      context->load_verify_file(ca_file, error);
    }
  }
  if (error) {
    return invalid_argument("tls.ca_file: '{}' gives no certificates to trust: {}",
                            printable(ca_file), error.message());
  }
  if (contexts_.size() >= kMaxContexts) contexts_.clear();
  contexts_.emplace(ca_file, context);
  return context;
}

}  // namespace virtufin::wsm
