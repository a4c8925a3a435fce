// Copies between a device and any memory of the host, through two pieces of pinned memory in turn: while the device copies one the CPU
// fills or empties the other.
#pragma once

#include <algorithm>
#include <cstring>

#include "device/runtime.h"

namespace fourfold {

/// What a device makes and frees, by a member function of DeviceRuntime for either.
template<Result<void *> (DeviceRuntime::*kMake)(), void (DeviceRuntime::*kFree)(void *)>
class DeviceOwned {
public:
    DeviceOwned() = default;
    ~DeviceOwned() {
        if (made_ != nullptr) {
            (device_->*kFree)(made_);
        }
    }
    DeviceOwned(const DeviceOwned &) = delete;
    DeviceOwned &operator=(const DeviceOwned &) = delete;

    Status make(DeviceRuntime &device) {
        const Result<void *> made = (device.*kMake)();
        if (made) {
            device_ = &device;
            made_ = *made;
        }
        return made.status();
    }
    void *get() const {
        return made_;
    }

private:
    DeviceRuntime *device_ = nullptr;
    void *made_ = nullptr;
};
using DeviceEvent = DeviceOwned<&DeviceRuntime::make_event, &DeviceRuntime::free_event>;
/// A stream of fourfold's own.
using DeviceStream = DeviceOwned<&DeviceRuntime::make_stream, &DeviceRuntime::free_stream>;

/// One call at a time, and nothing of it under way when it is destroyed.
class Stager {
public:
    /// Bytes of a piece at most: the device copies it in some 200 us, far longer than it takes to begin a copy.
    static constexpr size_t kPiece = size_t{4} << 20;

    Stager() = default;
    ~Stager() {
        for (Piece &piece : pieces_) {
            if (piece.data != nullptr) {
                device_->free_host(piece.data);
            }
        }
    }
    Stager(const Stager &) = delete;
    Stager &operator=(const Stager &) = delete;

    /// Allocates the pieces, for copies of `most` bytes or less.
    Status make(DeviceRuntime &device, size_t most) {
        device_ = &device;
        bytes_ = std::min(kPiece, (std::max<size_t>(most, 1) + kAlignment - 1) / kAlignment * kAlignment);
        for (Piece &piece : pieces_) {
            const Result<void *> data = device.allocate_host(bytes_);
            if (!data) {
                return data.status();
            }
            piece.data = static_cast<std::byte *>(*data);
            if (Status status = piece.free.make(device); !status.ok()) {
                return status;
            }
        }
        return Status();
    }

    /// To the device: fill(piece, offset, bytes) writes what belongs `offset` bytes after `to`. The copies are in the stream when it returns.
    template<typename Fill>
    Status send(void *to, size_t bytes, void *stream, const Fill &fill) {
        Status status;
        for (size_t offset = 0; offset < bytes && status.ok(); offset += bytes_) {
            Piece &piece = next();
            const size_t count = std::min(bytes_, bytes - offset);
            status = device_->wait(piece.free.get());
            if (status.ok()) {
                fill(piece.data, offset, count);
                status = device_->begin_copy_to_device(static_cast<std::byte *>(to) + offset, piece.data, count, stream);
            }
            status = status.ok() ? device_->record(piece.free.get(), stream) : status;
        }
        return status;
    }

    /// From the device: take(piece, offset, bytes) reads what lay `offset` bytes after `from`. All is taken when it returns.
    template<typename Take>
    Status fetch(const void *from, size_t bytes, void *stream, const Take &take) {
        Status status;
        const Piece *arriving = nullptr;
        size_t arriving_offset = 0;
        const auto arrive = [&] {
            status = status.ok() ? device_->wait(arriving->free.get()) : status;
            if (status.ok()) {
                take(arriving->data, arriving_offset, std::min(bytes_, bytes - arriving_offset));
            }
        };
        for (size_t offset = 0; offset < bytes && status.ok(); offset += bytes_) {
            Piece &piece = next();
            status = device_->wait(piece.free.get());
            status = status.ok() ? device_->begin_copy_to_host(piece.data, static_cast<const std::byte *>(from) + offset, std::min(bytes_, bytes - offset), stream) : status;
            status = status.ok() ? device_->record(piece.free.get(), stream) : status;
            if (arriving != nullptr) {
                arrive();
            }
            arriving = &piece;
            arriving_offset = offset;
        }
        if (arriving != nullptr) {
            arrive();
        }
        return status;
    }

    /// As it lies, straight from memory that the device reads itself: that must stay until the stream got there.
    Status send(void *to, const void *from, size_t bytes, void *stream) {
        if (device_->in_host_memory(from, bytes)) {
            return device_->begin_copy_to_device(to, from, bytes, stream);
        }
        return send(to, bytes, stream, [&](void *piece, size_t offset, size_t count) { std::memcpy(piece, static_cast<const std::byte *>(from) + offset, count); });
    }
    /// As it lies; it is there when this returns.
    Status fetch(void *to, const void *from, size_t bytes, void *stream) {
        if (device_->in_host_memory(to, bytes)) {
            const Status status = device_->begin_copy_to_host(to, from, bytes, stream);
            return status.ok() ? device_->synchronize(stream) : status;
        }
        return fetch(from, bytes, stream, [&](const void *piece, size_t offset, size_t count) { std::memcpy(static_cast<std::byte *>(to) + offset, piece, count); });
    }

private:
    struct Piece {
        std::byte *data = nullptr;
        DeviceEvent free;  ///< when what was last copied from or to it is done
    };
    Piece &next() {
        turn_ = 1 - turn_;
        return pieces_[turn_];
    }

    DeviceRuntime *device_ = nullptr;
    Piece pieces_[2];
    size_t bytes_ = 0;
    int turn_ = 0;
};

}  // namespace fourfold
