/// @file
/// Status and Result<T>: how every failure reaches the caller. No exception crosses the API and nothing aborts.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace fourfold {

/// What kind of failure.
enum class StatusCode {
    kOk = 0,             ///< none
    kInvalidArgument,    ///< a size, pointer, stride, file or token is wrong; the message names it and its value
    kUnsupported,        ///< valid, but the named algorithm, device or build cannot do it; the message says why
    kResourceExhausted,  ///< does not fit the workspace, packed-filter or memory limit; the message says what is needed
    kInternal,           ///< a generated kernel or a library refused; the message carries its text
};

/// The outcome of an operation: a code and, unless ok, one sentence with the offending value.
class [[nodiscard]] Status {
public:
    /// ok; allocates nothing.
    Status() = default;
    /// A failure, unless the code is kOk.
    Status(StatusCode code, std::string message)
        : code_(code), message_(std::move(message)) {
    }

    /// Whether it is kOk.
    bool ok() const {
        return code_ == StatusCode::kOk;
    }
    /// ok().
    explicit operator bool() const {
        return ok();
    }
    /// What kind of failure.
    StatusCode code() const {
        return code_;
    }
    /// The sentence; empty when ok.
    const std::string &message() const {
        return message_;
    }

private:
    StatusCode code_ = StatusCode::kOk;
    std::string message_;
};

/// A value, or the Status that explains its absence.
template<typename T>
class [[nodiscard]] Result {
public:
    /// Success.
    Result(T value)  // NOLINT: implicit by design, so that functions can return either
        : value_(std::move(value)) {
    }
    /// Failure: the status must not be ok.
    Result(Status status)  // NOLINT
        : status_(std::move(status)) {
    }

    /// Whether there is a value.
    bool ok() const {
        return value_.has_value();
    }
    /// ok().
    explicit operator bool() const {
        return ok();
    }
    /// ok, or why there is no value.
    const Status &status() const {
        return status_;
    }
    /// The value; only where ok().
    T &operator*() & {
        return *value_;
    }
    /// The value; only where ok().
    const T &operator*() const & {
        return *value_;
    }
    /// The value, to be moved from; only where ok().
    T &&operator*() && {
        return *std::move(value_);
    }
    /// Of the value; only where ok().
    T *operator->() {
        return &*value_;
    }
    /// Of the value; only where ok().
    const T *operator->() const {
        return &*value_;
    }

private:
    std::optional<T> value_;
    Status status_;
};

}  // namespace fourfold
