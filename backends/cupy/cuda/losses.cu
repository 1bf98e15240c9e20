// Cross-entropy of logits (rows, size) with integer targets (rows,), averaged over the targets that
// differ from `ignored`.
//
// A target out of range gives a loss of NaN and sets error_flag = (target, size, 1), which the host
// reads with the next result, so no step has to wait for the check.

// losses (rows,), and logsumexp (rows,) for the gradient.
extern "C" __global__ void cross_entropy_rows(const T* logits, const Index* targets, T* logsumexp,
                                              T* losses, Index rows, Index size, Index ignored,
                                              Index* error_flag) {
    FOR_EACH_ROW(row, rows) {
        const T* in = logits + row * size;
        T largest = NEGATIVE_INFINITY, total = 0;
        FOR_EACH_LANE(j, size) largest = in[j] > largest ? in[j] : largest;
        largest = warp_max(largest);
        FOR_EACH_LANE(j, size) total += exp(in[j] - largest);
        T log_total = largest + log(warp_sum(total));
        if (threadIdx.x > 0) continue;
        logsumexp[row] = log_total;
        Index target = targets[row];
        if (target == ignored) {
            losses[row] = 0;
        } else if (target < 0 || target >= size) {
            losses[row] = NOT_A_NUMBER;
            error_flag[0] = target, error_flag[1] = size, error_flag[2] = 1;
        } else {
            losses[row] = log_total - in[target];
        }
    }
}

// result = (mean loss, number of targets that are not ignored), by one block of (32, 32).
extern "C" __global__ void __launch_bounds__(1024)
    cross_entropy_mean(const T* losses, const Index* targets, T* result, Index rows,
                       Index ignored) {
    __shared__ T scratch[32];
    T total = 0, count = 0;
    for (Index row = threadIdx.y * 32 + threadIdx.x; row < rows; row += 32 * 32) {
        total += losses[row];
        count += targets[row] == ignored ? (T)0 : (T)1;
    }
    total = block_sum(total, scratch);
    count = block_sum(count, scratch);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        result[0] = total / count;
        result[1] = count;
    }
}

// d (rows, size) = g (softmax(logits) - one_hot(targets)) / count, zero for ignored targets.
extern "C" __global__ void cross_entropy_gradient(const T* g, const T* logits,
                                                  const Index* targets, const T* logsumexp,
                                                  const T* result, T* d, Index rows, Index size,
                                                  Index ignored) {
    T scale = g[0] / (result[1] > 1 ? result[1] : (T)1);
    FOR_EACH_ROW(row, rows) {
        Index target = targets[row];
        FOR_EACH_LANE(j, size) {
            T p = exp(logits[row * size + j] - logsumexp[row]);
            T gradient = scale * (p - (j == target ? (T)1 : (T)0));
            d[row * size + j] = target == ignored ? (T)0 : gradient;  // even if p is NaN
        }
    }
}
