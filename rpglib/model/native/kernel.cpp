// The denoiser on a CPU, one layer after the other for tokens that stay in the cache (see kernel.py).
//
// A convolution of kernel size R = 7 is a minimal filtering F(8, 7) (Winograd 1980; Toom-Cook): 8 outputs from 14
// inputs in 14 multiplications per pair of channels instead of 56. Activations lie in 8 phases, x[8 t + p] at [p][t], so
// that a vector holds the same element of 8 neighbouring tiles and no lane ever needs another. What stands between two
// convolutions (bias, ELU, skip connection, condition, time) happens once, while an output is in a register.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int TILE = 8, TAPS = 7, HALO = TAPS / 2, POINTS = TILE + TAPS - 1, PAIRS = (POINTS - 2) / 2;
constexpr int LANES = 8, WIDE = 2, ROWS = 6;  // one step of a product: WIDE vectors and at most ROWS output channels

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Vector load(const float* from) { Vector x; std::memcpy(&x, from, sizeof x); return x; }
inline void store(float* to, Vector x) { std::memcpy(to, &x, sizeof x); }
inline Vector all(float x) { return x - Vector{}; }

// x for x >= 0, else exp(x) - 1: the larger of x and 2^n 2^f - 1 with |f| <= 1/2, where x is at most 0 in the exponent.
// 2^f is a polynomial, exact at 0, that minimises the largest error (1e-7). NaN stays NaN, by the order of the operands.
inline Vector elu(Vector x) {
    const Vector zero{}, least = all(-87.0f), log2e = all(1.44269504088896341f);
    Vector low = x < zero ? x : zero;
    low = low > least ? low : least;
    // 1.5 x 2^23 rounds what is added to it to a whole number, here n + 127: the exponent's bits of 2^n.
    const Vector shift = all(12582912.0f + 127.0f), n = low * log2e + shift, f = low * log2e - (n - shift);
    Integers bits;
    std::memcpy(&bits, &n, sizeof bits);
    bits <<= 23;
    Vector scale;
    std::memcpy(&scale, &bits, sizeof scale);
    Vector p = all(1.3407259e-3f);
    for (float c : {9.6718753e-3f, 5.5503085e-2f, 2.4022235e-1f, 6.9314724e-1f, 1.0f}) p = p * f + c;
    p = p * scale - 1.0f;
    return p > x ? p : x;
}

// The transforms belong to polynomials with given values at the points 0, +-a_1 ... +-a_6 and infinity. With
// Q_a(y) the product of y - b^2 over the other points b, that of the value at +-a is x (x +- a) Q_a(x^2) over a constant:
// even and odd inputs enter the two with the same coefficients. POINTS_AT is `POINTS` of native.py.
constexpr double POINTS_AT[PAIRS] = {0.35, 0.60, 0.85, 1.18, 1.67, 2.90};

struct Constants {
    float half[PAIRS][PAIRS] = {};   // of inputs 2, 4, ... 12 for a pair; of inputs 1, 3, ... 11 divided by a
    float first[POINTS / 2] = {};    // of inputs 0, 2, ... 12 for the point 0
    float last[POINTS / 2] = {};     // of inputs 1, 3, ... 13 for infinity
    float powers[PAIRS][TILE] = {};  // 1, a, ... a^7

    constexpr Constants() {
        double whole[POINTS / 2] = {1}, at_zero = 1;
        for (int q = 0; q < PAIRS; ++q) {
            const double square = POINTS_AT[q] * POINTS_AT[q];
            at_zero *= -square;
            multiply(whole, q, square);
            double others[POINTS / 2] = {1}, scale = 2 * square;
            for (int o = 0, degree = 0; o < PAIRS; ++o)
                if (o != q) {
                    const double other = POINTS_AT[o] * POINTS_AT[o];
                    multiply(others, degree++, other);
                    scale *= square - other;
                }
            for (int k = 0; k < PAIRS; ++k) half[q][k] = float(others[k] / scale);
            double power = 1;
            for (int p = 0; p < TILE; ++p, power *= POINTS_AT[q]) powers[q][p] = float(power);
        }
        for (int k = 0; k < POINTS / 2; ++k) {
            first[k] = float(whole[k] / at_zero);
            last[k] = float(whole[k]);
        }
    }

    // A polynomial of the given degree times (y - root).
    static constexpr void multiply(double* polynomial, int degree, double root) {
        polynomial[degree + 1] = polynomial[degree];
        for (int k = degree; k > 0; --k) polynomial[k] = polynomial[k - 1] - root * polynomial[k];
        polynomial[0] *= -root;
    }
};
constexpr Constants AT;

struct Layer {
    int inputs, outputs, skip;  // skip: the layer whose output is added to this one's, or -1
    const float* weights;       // by blocks of output channels: (POINTS, inputs, rows); the last layer: (inputs, TAPS)
    const float* bias;
};

// Vectors of eight tiles are counted through all tokens of a group.
struct Place {
    int token, tile;
};

struct Shape {
    int tiles, stride;  // tiles of a token, rounded up to whole vectors; floats from phase to phase, with a tile of zeros on both sides
    int64_t channel() const { return int64_t(TILE) * stride; }
    int64_t token(int channels) const { return channels * channel(); }
};

// The 14 inputs of eight tiles: where each of them begins.
inline void inputs_of(const float* z, const Shape& shape, int tile, const float* at[POINTS]) {
    #pragma GCC unroll 16
    for (int j = 0; j < POINTS; ++j) {
        const int position = j - HALO + TILE;  // from one tile to the left
        at[j] = z + (position % TILE) * int64_t(shape.stride) + tile + position / TILE;
    }
}

inline void transform_inputs(const float* z, const Shape& shape, int tile, float* v, int64_t step) {
    const float* at[POINTS];
    inputs_of(z, shape, tile, at);
    Vector d[POINTS];
    #pragma GCC unroll 16
    for (int j = 0; j < POINTS; ++j) d[j] = load(at[j]);
    Vector first{}, last{};
    #pragma GCC unroll 16
    for (int k = 0; k < POINTS / 2; ++k) {
        first += d[2 * k] * AT.first[k];
        last += d[2 * k + 1] * AT.last[k];
    }
    store(v, first);
    store(v + (POINTS - 1) * step, last);
    #pragma GCC unroll 16
    for (int q = 0; q < PAIRS; ++q) {
        Vector even{}, odd{};
        #pragma GCC unroll 16
        for (int k = 0; k < PAIRS; ++k) {
            even += d[2 * k + 2] * AT.half[q][k];
            odd += d[2 * k + 1] * AT.half[q][k];
        }
        odd *= AT.powers[q][1];
        store(v + (1 + 2 * q) * step, even + odd);
        store(v + (2 + 2 * q) * step, even - odd);
    }
}

// One point's product for `R` output channels and WIDE vectors of tiles.
template <int R>
inline void multiply(const float* u, const float* v, int inputs, Vector sum[R][WIDE]) {
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < WIDE; ++w) sum[r][w] = Vector{};
    for (int c = 0; c < inputs; ++c, u += R, v += WIDE * LANES) {
        Vector x[WIDE];
        for (int w = 0; w < WIDE; ++w) x[w] = load(v + w * LANES);
        for (int r = 0; r < R; ++r)
            for (int w = 0; w < WIDE; ++w) sum[r][w] += x[w] * u[r];
    }
}

struct Target {
    float* next;         // the next layer's inputs, (token, channel, phase, tile)
    float* kept;         // this layer's own outputs where a later skip connection needs them, else null
    const float* skip;   // the outputs that are added, else null
    const float* time;   // (phase, tile), zero behind the token's end
    const float* shift;  // (token, phase, tile): condition x time
};

template <int R>
void block(const float* u, const float* bias, const float* v, const Layer& layer, int channel, const Place* places,
           const Shape& shape, const Target& target) {
    Vector m[POINTS][R][WIDE];
    for (int i = 0; i < POINTS; ++i)
        multiply<R>(u + int64_t(i) * layer.inputs * R, v + int64_t(i) * layer.inputs * WIDE * LANES, layer.inputs, m[i]);
    for (int r = 0; r < R; ++r)
        for (int w = 0; w < WIDE; ++w) {
            Vector y[TILE];
            #pragma GCC unroll 16
            for (int p = 0; p < TILE; ++p) y[p] = all(bias[r]);
            y[0] += m[0][r][w];
            y[TILE - 1] += m[POINTS - 1][r][w];
            #pragma GCC unroll 16
            for (int q = 0; q < PAIRS; ++q) {
                const Vector sum = m[1 + 2 * q][r][w] + m[2 + 2 * q][r][w], difference = m[1 + 2 * q][r][w] - m[2 + 2 * q][r][w];
                #pragma GCC unroll 16
                for (int p = 0; p < TILE; ++p) y[p] += (p % 2 ? difference : sum) * AT.powers[q][p];
            }
            const int64_t inner = places[w].tile + 1, own = places[w].token * shape.channel() + inner;
            const int64_t at = places[w].token * shape.token(layer.outputs) + (channel + r) * shape.channel() + inner;
            #pragma GCC unroll 16
            for (int p = 0; p < TILE; ++p) {
                const int64_t row = int64_t(p) * shape.stride;
                Vector x = elu(y[p]);
                if (target.kept) store(target.kept + at + row, x);
                if (target.skip) x += load(target.skip + at + row);
                store(target.next + at + row, x * load(target.time + inner + row) + load(target.shift + own + row));
            }
        }
}

void last_layer(const Layer& layer, const float* z, const Place& place, const Shape& shape, float* out) {
    Vector y[TILE];
    #pragma GCC unroll 16
    for (int p = 0; p < TILE; ++p) y[p] = all(layer.bias[0]);
    z += place.token * shape.token(layer.inputs);
    for (int c = 0; c < layer.inputs; ++c, z += shape.channel()) {
        const float* at[POINTS];
        inputs_of(z, shape, place.tile, at);
        #pragma GCC unroll 16
        for (int j = 0; j < POINTS; ++j) {
            const Vector x = load(at[j]);
            #pragma GCC unroll 16
            for (int p = 0; p < TILE; ++p)
                if (j - p >= 0 && j - p < TAPS) y[p] += x * layer.weights[c * TAPS + j - p];
        }
    }
    #pragma GCC unroll 16
    for (int p = 0; p < TILE; ++p) store(out + place.token * shape.channel() + p * int64_t(shape.stride) + place.tile + 1, y[p]);
}

void to_phases(const float* x, int size, const Shape& shape, float* out) {
    for (int i = 0; i < size; ++i) out[(i % TILE) * int64_t(shape.stride) + i / TILE + 1] = x[i];
}

void run_layer(const Layer& layer, const float* z, const std::vector<Place>& places, const Shape& shape,
               const Target& target, float* v) {
    const int blocks = (layer.outputs + ROWS - 1) / ROWS, rows = layer.outputs / blocks, larger = layer.outputs % blocks;
    const int64_t step = int64_t(layer.inputs) * WIDE * LANES;
    for (size_t begin = 0; begin < places.size(); begin += WIDE) {
        const Place* here = &places[begin];
        for (int c = 0; c < layer.inputs; ++c)
            for (int w = 0; w < WIDE; ++w)
                transform_inputs(z + here[w].token * shape.token(layer.inputs) + c * shape.channel(), shape,
                                 here[w].tile, v + (c * WIDE + w) * LANES, step);
        const float* u = layer.weights;
        for (int b = 0, channel = 0; b < blocks; ++b) {
            const int count = rows + (b < larger);
            auto* run = count == 6 ? block<6> : count == 5 ? block<5> : count == 4 ? block<4> : count == 3 ? block<3>
                      : count == 2 ? block<2> : block<1>;
            run(u, layer.bias + channel, v, layer, channel, here, shape, target);
            u += int64_t(POINTS) * layer.inputs * count;
            channel += count;
        }
    }
}

}  // namespace

// x, condition, out: (count, size); time: (size,); layers: (number, 3) int32 as in `Layer`; weights: one pointer a layer,
// biases alike.
extern "C" void rpg_denoise(const float* x, const float* time, const float* condition, float* out, int64_t count,
                            int32_t size, int32_t number, const int32_t* facts, const float* const* weights,
                            const float* const* biases) {
    std::vector<Layer> layers(number);
    int widest = 1;
    for (int k = 0; k < number; ++k) {
        layers[k] = {facts[3 * k], facts[3 * k + 1], facts[3 * k + 2], weights[k], biases[k]};
        widest = std::max({widest, layers[k].inputs, layers[k].outputs});
    }
    Shape shape;
    shape.tiles = (size + TILE * LANES - 1) / (TILE * LANES) * LANES;
    shape.stride = shape.tiles + 2;
    const int vectors = shape.tiles / LANES, group = int(std::min<int64_t>(count, vectors % WIDE ? WIDE : 1));

    std::vector<Place> places;
    for (int g = 0; g < group; ++g)
        for (int k = 0; k < vectors; ++k) places.push_back({g, k * LANES});
    while (places.size() % WIDE) places.push_back(places.back());

    std::vector<float> phases(shape.channel()), shifts(group * shape.channel()), result(group * shape.channel());
    std::vector<float> values[2];
    for (auto& buffer : values) buffer.resize(group * shape.token(widest));
    std::vector<std::vector<float>> kept(number);
    for (int k = 0; k < number; ++k)
        if (layers[k].skip >= 0) kept[layers[k].skip].resize(group * shape.token(layers[layers[k].skip].outputs));
    std::vector<float> v(int64_t(POINTS) * widest * WIDE * LANES), plain(size);
    to_phases(time, size, shape, phases.data());

    for (int64_t begin = 0; begin < count; begin += group) {
        // The last group may overlap the one before it: tokens are computed twice rather than groups of two sizes.
        const int64_t from = std::min<int64_t>(begin, count - group);
        for (int g = 0; g < group; ++g) {
            const float *noisy = x + (from + g) * size, *projected = condition + (from + g) * size;
            for (int i = 0; i < size; ++i) plain[i] = projected[i] * time[i];
            to_phases(plain.data(), size, shape, shifts.data() + g * shape.channel());
            for (int i = 0; i < size; ++i) plain[i] = (noisy[i] + projected[i]) * time[i];
            to_phases(plain.data(), size, shape, values[0].data() + g * shape.channel());
        }
        for (int k = 0; k + 1 < number; ++k) {
            // Halos and what lies behind a token's end stay zero: nothing writes there but zeros (time is zero there).
            float *z = values[k % 2].data(), *next = values[(k + 1) % 2].data();
            const Target target{next, kept[k].empty() ? nullptr : kept[k].data(),
                                layers[k].skip < 0 ? nullptr : kept[layers[k].skip].data(), phases.data(), shifts.data()};
            run_layer(layers[k], z, places, shape, target, v.data());
        }
        for (const Place& place : places) last_layer(layers[number - 1], values[(number - 1) % 2].data(), place, shape, result.data());
        for (int g = 0; g < group; ++g)
            for (int i = 0; i < size; ++i)
                out[(from + g) * size + i] = result[g * shape.channel() + (i % TILE) * int64_t(shape.stride) + i / TILE + 1];
    }
}
