#include "server/websocket/compression.h"

namespace nws {

namespace {

/// zlib's default for compressors that take 256 KiB in all; `ws` and µWebSockets share one like it.
constexpr int shared_memory_level = 8;

}  // namespace

Deflater &SharedCompression::deflater(int window_bits) {
  auto &deflater = deflaters_.at(static_cast<std::size_t>(window_bits));
  if (!deflater) {
    deflater = std::make_unique<Deflater>(window_bits, shared_memory_level);
  }
  return *deflater;
}

Inflater &SharedCompression::inflater() {
  if (!inflater_) {
    inflater_ = std::make_unique<Inflater>(max_window_bits);
  }
  return *inflater_;
}

std::unique_ptr<Inflater> SharedCompression::take_inflater() {
  inflater();
  return std::move(inflater_);
}

void SharedCompression::give_back(std::unique_ptr<Inflater> inflater) {
  inflater->reset();
  inflater_ = std::move(inflater);
}

std::optional<int> Compression::shared_window() const {
  return agreed_.compressor.takeover ? std::nullopt : std::optional(agreed_.compressor.bits);
}

Deflater &Compression::own_deflater() {
  if (!deflater_) {
    deflater_ = std::make_unique<Deflater>(agreed_.compressor.bits, options_.memory_level);
  }
  return *deflater_;
}

std::optional<std::string_view> Compression::compress(std::string_view message) {
  if (agreed_.compressor.takeover) {
    // Whatever has come out: later messages refer to this one, which the client must have had in this form.
    return own_deflater().deflate(message, true, shared_.deflated);
  }
  std::string_view compressed = compress_fragment(message, true);
  return compressed.length() < message.length() ? std::optional(compressed) : std::nullopt;
}

std::string_view Compression::compress_fragment(std::string_view data, bool last) {
  if (agreed_.compressor.takeover) {
    return own_deflater().deflate(data, last, shared_.deflated);
  }
  // Fragments end between two blocks, and blocks need not refer to earlier ones: others may use the
  // compressor in between.
  Deflater &deflater = shared_.deflater(agreed_.compressor.bits);
  std::string_view compressed = deflater.deflate(data, last, shared_.deflated);
  deflater.reset();
  return compressed;
}

Inflater &Compression::own_inflater() {
  if (!inflater_) {
    inflater_ = std::make_unique<Inflater>(agreed_.decompressor.bits);
  }
  return *inflater_;
}

void Compression::keep_window(std::size_t share) {
  shared_.window = share == no_share_limit ? std::string_view() : own_inflater().window(shared_.window_memory);
}

Inflated Compression::decompress(std::string_view message, std::size_t limit, std::size_t share) {
  shared_.progress = {};
  if (agreed_.decompressor.takeover) {
    keep_window(share);
    return own_inflater().inflate(message, true, limit, share, shared_.inflated, shared_.progress);
  }
  Inflater &inflater = shared_.inflater();
  Inflated inflated = inflater.inflate(message, true, limit, share, shared_.inflated, shared_.progress);
  if (inflated.state != Inflated::State::more) {
    inflater.reset();
  }
  return inflated;
}

std::unique_ptr<CompressedMessage> Compression::put_off(std::string_view message, int op_code) {
  auto put_off = std::make_unique<CompressedMessage>(CompressedMessage{std::string(message), op_code, shared_.progress});
  put_off->inflated = std::move(shared_.inflated);
  if (agreed_.decompressor.takeover) {
    put_off->window = shared_.window;
  } else {
    put_off->inflater = shared_.take_inflater();
  }
  return put_off;
}

Inflated Compression::decompress(CompressedMessage &message, std::size_t limit, std::size_t share) {
  if (agreed_.decompressor.takeover) {
    if (message.progress.read == 0) {
      keep_window(share);
      message.window = shared_.window;
    }
    return own_inflater().inflate(message.payload, true, limit, share, message.inflated, message.progress);
  }
  if (!message.inflater) {
    message.inflater = shared_.take_inflater();
  }
  Inflated inflated = message.inflater->inflate(message.payload, true, limit, share, message.inflated, message.progress);
  if (inflated.state != Inflated::State::more) {
    shared_.give_back(std::move(message.inflater));
  }
  return inflated;
}

void Compression::restart(CompressedMessage &message) {
  if (message.progress.read > 0 && agreed_.decompressor.takeover) {
    own_inflater().reset_to(message.window);
  }
  if (message.inflater) {
    shared_.give_back(std::move(message.inflater));
  }
  message.window = {};
  message.inflated = {};
  message.progress = {};
  message.checked_text = 0;
}

Inflated Compression::inflate_fragments(std::string_view fragments, std::size_t limit, std::size_t share) {
  std::size_t copied = 0;
  if (!fragmented_text_) {
    fragmented_text_ = std::make_unique<FragmentedText>();
    if (agreed_.decompressor.takeover) {
      fragmented_text_->window = own_inflater().window(shared_.window_memory);
      copied = fragmented_text_->window.length();
    } else {
      fragmented_text_->inflater = shared_.take_inflater();
    }
  }
  FragmentedText &text = *fragmented_text_;
  shared_.inflated.grow(first_buffer_size, 0);
  text.incomplete.copy(shared_.inflated.data(), text.incomplete.length());
  text.progress.written = text.incomplete.length();
  Inflater &inflater = text.inflater ? *text.inflater : own_inflater();
  Inflated step = inflater.inflate(fragments, false, limit - text.checked, share, shared_.inflated, text.progress);
  text.has_more = step.state == Inflated::State::more;
  step.cost += copied;
  return step;
}

void Compression::keep_incomplete(std::string_view inflated, std::size_t checked) {
  fragmented_text_->incomplete = inflated.substr(checked);
  fragmented_text_->checked += checked;
}

void Compression::end_fragments() {
  if (!fragmented_text_) {
    return;
  }
  if (fragmented_text_->inflater) {
    shared_.give_back(std::move(fragmented_text_->inflater));
  } else {
    own_inflater().reset_to(fragmented_text_->window);
  }
  fragmented_text_.reset();
}

}  // namespace nws
