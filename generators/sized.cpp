// main() of generators whose buffers may be fixed at compile time: everything that Halide's own main takes, and
// sizes=LIST, extents and strides of every buffer and the value of every integer, in the order of the ports (see SizedKernel
// in runtime/registry.h); `*` leaves one open. The function keeps its signature and refuses buffers of other sizes.
#include "Halide.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

using namespace Halide;
using namespace Halide::Internal;

namespace {

class Sized : public AbstractGenerator {
public:
    explicit Sized(AbstractGeneratorPtr plain)
        : plain_(std::move(plain)) {
    }
    std::string name() override {
        return plain_->name();
    }
    GeneratorContext context() const override {
        return plain_->context();
    }
    std::vector<ArgInfo> arginfos() override {
        return plain_->arginfos();
    }
    void set_generatorparam_value(const std::string &name, const std::string &value) override {
        if (name == "sizes") {
            for (size_t at = 0; at < value.size();) {
                const size_t end = std::min(value.find(',', at), value.size());
                sizes_.push_back(value.substr(at, end - at));
                at = end + 1;
            }
        } else {
            plain_->set_generatorparam_value(name, value);
        }
    }
    void set_generatorparam_value(const std::string &name, const LoopLevel &level) override {
        plain_->set_generatorparam_value(name, level);
    }
    Pipeline build_pipeline() override {
        if (sizes_.empty()) {
            return plain_->build_pipeline();
        }
        size_t at = 0;
        const auto next = [&] {
            _halide_user_assert(at < sizes_.size()) << "sizes has " << sizes_.size() << " values, too few\n";
            return sizes_[at++];
        };
        struct Buffer {
            ArgInfo port;
            std::vector<std::string> sizes;
        };
        std::vector<Buffer> buffers;
        for (const ArgInfo &port : arginfos()) {
            if (port.kind != ArgInfoKind::Scalar) {
                buffers.push_back({port, {}});
                for (int i = 0; i < 2 * port.dimensions; i++) {
                    buffers.back().sizes.push_back(next());
                }
            } else if (port.types[0].is_int()) {
                if (const std::string value = next(); value != "*") {
                    plain_->bind_input(port.name, std::vector<Expr>{make_const(port.types[0], std::atoi(value.c_str()))});
                }
            }
        }
        _halide_user_assert(at == sizes_.size()) << "sizes has " << sizes_.size() << " values instead of " << at << "\n";
        Pipeline pipeline = plain_->build_pipeline();
        for (const Buffer &buffer : buffers) {
            Parameter parameter = buffer.port.dir == ArgInfoDirection::Input ? plain_->input_parameter(buffer.port.name)[0] : plain_->output_func(buffer.port.name)[0].output_buffer().parameter();
            for (int d = 0; d < buffer.port.dimensions; d++) {
                const std::string &extent = buffer.sizes[2 * d], &stride = buffer.sizes[2 * d + 1];
                if (extent != "*") {
                    parameter.set_extent_constraint(d, std::atoi(extent.c_str()));
                }
                if (stride != "*") {
                    parameter.set_stride_constraint(d, std::atoi(stride.c_str()));
                }
            }
        }
        return pipeline;
    }
    std::vector<Parameter> input_parameter(const std::string &name) override {
        return plain_->input_parameter(name);
    }
    std::vector<Func> output_func(const std::string &name) override {
        return plain_->output_func(name);
    }
    void bind_input(const std::string &name, const std::vector<Parameter> &v) override {
        plain_->bind_input(name, v);
    }
    void bind_input(const std::string &name, const std::vector<Func> &v) override {
        plain_->bind_input(name, v);
    }
    void bind_input(const std::string &name, const std::vector<Expr> &v) override {
        plain_->bind_input(name, v);
    }
    bool emit_cpp_stub(const std::string &path) override {
        return plain_->emit_cpp_stub(path);
    }
    bool emit_hlpipe(const std::string &path) override {
        return plain_->emit_hlpipe(path);
    }
    bool allow_out_of_order_inputs_and_outputs() const override {
        return plain_->allow_out_of_order_inputs_and_outputs();
    }

private:
    AbstractGeneratorPtr plain_;
    std::vector<std::string> sizes_;
};

class Provider : public GeneratorFactoryProvider {
public:
    std::vector<std::string> enumerate() const override {
        return get_registered_generators().enumerate();
    }
    AbstractGeneratorPtr create(const std::string &name, const GeneratorContext &context) const override {
        AbstractGeneratorPtr plain = get_registered_generators().create(name, context);
        return plain == nullptr ? nullptr : std::make_unique<Sized>(std::move(plain));
    }
};

}  // namespace

int main(int argc, char **argv) {
    return generate_filter_main(argc, argv, Provider());
}
