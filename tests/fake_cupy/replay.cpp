// Runs recorded launches again, each thread a thread of the operating system, each array in memory
// of its own, so that a sanitizer sees races and steps beyond an end. Prints what differs from the
// record; the exit status is the number of such launches.

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

static unsigned long number() {
    unsigned long value;
    read(&value, sizeof value);
    return value;
}

static std::string bytes(size_t size) {
    std::string text(size, 0);
    read(text.data(), size);
    return text;
}

struct Blob {
    unsigned long address;
    std::string after;
    char *block, *memory;
};

enum Kind { SCALAR, ARRAY, NOTHING, TABLE };

// In a table of (4 addresses, count), the addresses of the record become those of here.
static void relocate(Blob& table, const std::vector<Blob>& blobs) {
    long* row = (long*)table.memory;
    for (size_t i = 0; i < table.after.size() / sizeof(long); i++)
        for (const Blob& blob : blobs)
            if (i % 5 < 4 && row[i] == (long)blob.address) {
                row[i] = (long)blob.memory;
                break;
            }
}

static bool launch_again() {
    std::string name = bytes(number());
    unsigned grid[3], block[3];
    for (unsigned& size : grid) size = number();
    for (unsigned& size : block) size = number();
    std::vector<Blob> blobs(number());
    for (Blob& blob : blobs) {
        blob.address = number();
        std::string before = bytes(number());
        blob.after = bytes(before.size());
        size_t shift = blob.address % 16;  // as far from a multiple of 16 as on record
        blob.block = (char*)malloc(shift + before.size());
        blob.memory = blob.block + shift;
        memcpy(blob.memory, before.data(), before.size());
    }
    std::vector<unsigned long> values(number());
    std::vector<void*> arguments;
    std::vector<size_t> tables;
    for (unsigned long& value : values) {
        unsigned long kind = number();
        value = number();
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
    if (!same) printf("%s: other results than recorded\n", name.c_str());
    return same;
}

int main(int, char** argv) {
    file = fopen(argv[1], "rb");
    int differing = 0;
    for (unsigned long left = number(); left > 0; left--) differing += !launch_again();
    return differing;
}
