// Cross-entropy of logits (rows, size) with integer targets (rows,).
//
// Nothing here makes the host wait. A target out of range gives a loss that is no number, and is
// noted in wrong = (target, size, 1), which the host reads with the next result.

extern "C" __global__ void cross_entropy_rows(const T* logits, const Index* targets, T* log_total,
                                              T* losses, Index rows, Index size, Index ignored,
                                              Index* wrong) {
    FOR_EACH_ROW(row, rows) {
        const T* in = logits + row * size;
        T largest = NEGATIVE_INFINITY, total = 0;
        FOR_EACH_LANE(j, size) largest = in[j] > largest ? in[j] : largest;
        largest = warp_max(largest);
        FOR_EACH_LANE(j, size) total += exp(in[j] - largest);
        T log_sum = largest + log(warp_sum(total));
        if (threadIdx.x > 0) continue;
        log_total[row] = log_sum;
        Index target = targets[row];
        if (target == ignored) {
            losses[row] = 0;
        } else if (target < 0 || target >= size) {
            losses[row] = NOT_A_NUMBER;
            wrong[0] = target, wrong[1] = size, wrong[2] = 1;
        } else {
            losses[row] = log_sum - in[target];
        }
    }
}

// One block of (32, 32): result = (mean loss, number of targets that count).
extern "C" __global__ void cross_entropy_mean(const T* losses, const Index* targets, T* result,
                                              Index rows, Index ignored) {
    __shared__ T room[32];
    T total = 0, count = 0;
    for (Index row = threadIdx.y * 32 + threadIdx.x; row < rows; row += 32 * 32) {
        total += losses[row];
        count += targets[row] == ignored ? (T)0 : (T)1;
    }
    total = block_sum(total, room);
    count = block_sum(count, room);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        result[0] = total / count;
        result[1] = count;
    }
}

extern "C" __global__ void cross_entropy_gradient(const T* g, const T* logits,
                                                  const Index* targets, const T* log_total,
                                                  const T* result, T* d, Index rows, Index size,
                                                  Index ignored) {
    T scale = g[0] / (result[1] > 1 ? result[1] : (T)1);
    FOR_EACH_ROW(row, rows) {
        Index target = targets[row];
        T factor = target == ignored ? (T)0 : scale;
        FOR_EACH_LANE(j, size) {
            T p = exp(logits[row * size + j] - log_total[row]);
            d[row * size + j] = factor * (p - (j == target ? (T)1 : (T)0));
        }
    }
}
