// Replays recorded kernel launches under a sanitizer. Each CUDA thread is a thread of the operating
// system and each array a separate allocation, so that races and out-of-bounds accesses are found.
// Prints the kernels whose results differ from the record; the exit status is their number.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

using Run = int (*)(const unsigned*, const unsigned*, unsigned long, void**);
extern const std::map<std::string, Run> kernels;

static FILE* file;

static void read(void* to, size_t size) {
    if (fread(to, 1, size, file) != size) exit(101);
}

static unsigned long read_number() {
    unsigned long value;
    read(&value, sizeof value);
    return value;
}

static std::string read_bytes(size_t size) {
    std::string text(size, 0);
    read(text.data(), size);
    return text;
}

// The memory of one array.
struct Blob {
    unsigned long address;  // in the recording process
    std::string after;      // expected contents after the launch
    char *block, *memory;   // the allocation, and the array's first byte in it
};

enum Kind { SCALAR, ARRAY, NULL_POINTER, TABLE };

// Replace recorded addresses in a chunk table, rows of (4 addresses, count), by current ones.
static void relocate(Blob& table, const std::vector<Blob>& blobs) {
    long* row = (long*)table.memory;
    for (size_t i = 0; i < table.after.size() / sizeof(long); i++)
        for (const Blob& blob : blobs)
            if (i % 5 < 4 && row[i] == (long)blob.address) {
                row[i] = (long)blob.memory;
                break;
            }
}

static bool replay_launch() {
    std::string name = read_bytes(read_number());
    unsigned grid[3], block[3];
    for (unsigned& size : grid) size = read_number();
    for (unsigned& size : block) size = read_number();
    std::vector<Blob> blobs(read_number());
    for (Blob& blob : blobs) {
        blob.address = read_number();
        std::string before = read_bytes(read_number());
        blob.after = read_bytes(before.size());
        size_t shift = blob.address % 16;  // keeps the recorded alignment
        blob.block = (char*)malloc(shift + before.size());
        blob.memory = blob.block + shift;
        memcpy(blob.memory, before.data(), before.size());
    }
    std::vector<unsigned long> values(read_number());
    std::vector<void*> arguments;
    std::vector<size_t> tables;
    for (unsigned long& value : values) {
        unsigned long kind = read_number();
        value = read_number();
        if (kind == TABLE) tables.push_back(value);
        if (kind == ARRAY || kind == TABLE) value = (unsigned long)blobs[value].memory;
        arguments.push_back(&value);
    }
    for (size_t table : tables) relocate(blobs[table], blobs);
    kernels.at(name)(grid, block, 0, arguments.data());
    bool same = true;
    for (size_t i = 0; i < blobs.size(); i++) {
        bool is_table = std::find(tables.begin(), tables.end(), i) != tables.end();
        if (!is_table && memcmp(blobs[i].memory, blobs[i].after.data(), blobs[i].after.size()))
            same = false;
        free(blobs[i].block);
    }
    if (!same) printf("%s: results differ from the record\n", name.c_str());
    return same;
}

int main(int, char** argv) {
    file = fopen(argv[1], "rb");
    int differing = 0;
    for (unsigned long left = read_number(); left > 0; left--) differing += !replay_launch();
    return differing;
}
