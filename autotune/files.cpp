#include "files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace fourfold::cli {
namespace {

std::string reason(int error) {
    return std::generic_category().message(error);
}

Status cannot_write(const std::string &path, const std::string &why) {
    return {StatusCode::kInternal, "cannot write '" + path + "': " + why};
}

bool write_all(int file, const void *data, size_t bytes) {
    const char *next = static_cast<const char *>(data);
    while (bytes > 0) {
        const ssize_t written = ::write(file, next, bytes);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        next += written;
        bytes -= static_cast<size_t>(written);
    }
    return true;
}

/// Where the bytes finally go: a link's target rather than the link, so that renaming does not replace the link.
std::string resolved(const std::string &path) {
    std::error_code error;
    if (!std::filesystem::is_symlink(path, error)) {
        return path;
    }
    const auto target = std::filesystem::weakly_canonical(path, error);
    return error ? path : target.string();
}

std::string folder_of(const std::string &path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    return folder.empty() ? "." : folder;
}

}  // namespace

Result<std::string> read_file(const std::string &path) {
    const auto cannot = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, "cannot read '" + path + "': " + why); };
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return cannot(reason(errno));
    }
    std::string bytes;
    struct stat info = {};
    int error = 0;
    if (::fstat(file, &info) != 0) {
        error = errno;
    } else if (S_ISDIR(info.st_mode)) {
        error = EISDIR;
    }
    // A regular file takes one read; a pipe has no size and grows the buffer.
    size_t filled = 0;
    const size_t step = size_t{1} << 20;
    bytes.resize(S_ISREG(info.st_mode) ? static_cast<size_t>(info.st_size) + 1 : step);
    while (error == 0) {
        if (filled == bytes.size()) {
            bytes.resize(bytes.size() + step);
        }
        const ssize_t got = ::read(file, bytes.data() + filled, bytes.size() - filled);
        if (got == 0) {
            break;
        }
        if (got > 0) {
            filled += static_cast<size_t>(got);
        } else if (errno != EINTR) {
            error = errno;
        }
    }
    ::close(file);
    if (error != 0) {
        return cannot(reason(error));
    }
    bytes.resize(filled);
    return bytes;
}

Status check_writable(const std::string &path) {
    struct stat info = {};
    if (path.empty()) {
        return cannot_write(path, "the name is empty");
    }
    const std::string target = resolved(path);
    if (::stat(target.c_str(), &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            return cannot_write(path, reason(EISDIR));
        }
        if (::access(target.c_str(), W_OK) != 0) {
            return cannot_write(path, reason(errno));
        }
        if (!S_ISREG(info.st_mode)) {
            return {};
        }
    }
    const std::string folder = folder_of(target);
    if (::stat(folder.c_str(), &info) != 0) {
        return cannot_write(path, "folder '" + folder + "': " + reason(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return cannot_write(path, "folder '" + folder + "': " + reason(ENOTDIR));
    }
    if (::access(folder.c_str(), W_OK | X_OK) != 0) {
        return cannot_write(path, "folder '" + folder + "': " + reason(errno));
    }
    return {};
}

Status write_file(const std::string &path, const std::function<Status(const WriteBytes &)> &fill) {
    if (Status status = check_writable(path); !status) {
        return status;
    }
    const std::string target = resolved(path);
    struct stat info = {};
    const bool exists = ::stat(target.c_str(), &info) == 0;
    const bool direct = exists && !S_ISREG(info.st_mode);

    std::string temporary = target + ".XXXXXX";
    const int file = direct ? ::open(target.c_str(), O_WRONLY | O_CLOEXEC) : ::mkstemp(temporary.data());
    if (file < 0) {
        return cannot_write(path, reason(errno));
    }
    int error = 0;
    Status status = fill([&](const void *data, size_t bytes) {
        if (error == 0 && !write_all(file, data, bytes)) {
            error = errno;
        }
        return error == 0;
    });
    if (!direct && error == 0) {
        // mkstemp makes the file private; give it the mode it would have had.
        const mode_t mask = ::umask(0);
        ::umask(mask);
        if (::fchmod(file, exists ? (info.st_mode & 07777) : (0666 & ~mask)) != 0) {
            error = errno;
        }
    }
    if (::close(file) != 0 && error == 0) {
        error = errno;
    }
    if (!direct && status && error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) {
        error = errno;
    }
    if (!direct && (!status || error != 0)) {
        ::unlink(temporary.c_str());
    }
    return error != 0 ? cannot_write(path, reason(error)) : status;
}

Status write_file(const std::string &path, const std::string &bytes) {
    return write_file(path, [&](const WriteBytes &write) {
        write(bytes.data(), bytes.size());
        return Status();
    });
}

Result<FileLock> FileLock::take(const std::string &path, const std::string &what) {
    // A process that was just killed may hold it a moment longer.
    for (int tries = 20;; tries--) {
        const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (file < 0) {
            return cannot_write(path, reason(errno));
        }
        if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
            const int error = errno;
            ::close(file);
            if (error == EWOULDBLOCK && tries > 0) {
                ::usleep(50000);
                continue;
            }
            return error == EWOULDBLOCK ? Status(StatusCode::kInvalidArgument, what + " is being written by another process, which holds '" + path + "'") : cannot_write(path, reason(error));
        }
        // Whoever held it before may have removed it between our two calls; then another file has the name.
        struct stat held = {}, named = {};
        if (::fstat(file, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
            return FileLock(path, file);
        }
        ::close(file);
    }
}

FileLock::FileLock(std::string path, int file)
    : path_(std::move(path)), file_(file) {
}

FileLock::FileLock(FileLock &&other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {
}

FileLock::~FileLock() {
    if (file_ >= 0) {
        ::unlink(path_.c_str());
        ::close(file_);
    }
}

std::string lower_extension(const std::string &path) {
    std::string extension = std::filesystem::path(path).extension().string();
    if (!extension.empty()) {
        extension.erase(0, 1);
    }
    for (char &c : extension) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return extension;
}

}  // namespace fourfold::cli
