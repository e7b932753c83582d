// The pool of threads behind rows.h, of which there is one in a process.
//
// Threads wait on a condition variable, never in a loop: beside a busy core, those that spin take the time of those
// that work. Ranges are taken one by one by whoever is free, so nobody waits for a thread that has not been woken
// yet: the caller does what is left itself, and waits only for ranges that are being worked on.

#include <fenv.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <new>

namespace {

typedef void (*Range)(void* what, int64_t first, int64_t last);

// Ranges for each thread: enough that one which is late does not hold up the others.
constexpr int64_t SHARES = 4;

struct Job {
  Range range;
  void* what;
  int64_t rows, size;
  std::atomic<int64_t> next;
  fenv_t rounding;  // of the caller, whose results must not depend on who computes them
  int wanted;       // threads that may still join
  int working;      // threads that have joined and are not done
};

struct State {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t begin = PTHREAD_COND_INITIALIZER;
  pthread_cond_t end = PTHREAD_COND_INITIALIZER;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
  int threads = 0;
  Job* job = nullptr;
};

// Never destroyed: threads outlive whatever is destroyed when the process ends.
alignas(State) unsigned char memory[sizeof(State)];
State* state = nullptr;

void work(Job* job) {
  for (;;) {
    const int64_t first = job->next.fetch_add(job->size, std::memory_order_relaxed);
    if (first >= job->rows) return;
    const int64_t last = first + job->size < job->rows ? first + job->size : job->rows;
    job->range(job->what, first, last);
  }
}

void* serve(void*) {
  State* own = state;
  pthread_mutex_lock(&own->mutex);
  for (;;) {
    while (own->job == nullptr || own->job->wanted == 0) pthread_cond_wait(&own->begin, &own->mutex);
    Job* job = own->job;
    job->wanted--;
    job->working++;
    pthread_mutex_unlock(&own->mutex);
    fesetenv(&job->rounding);
    work(job);
    pthread_mutex_lock(&own->mutex);
    if (--job->working == 0) pthread_cond_signal(&own->end);
  }
  return nullptr;
}

// Have so many threads, or as many as the system gives. Signals stay with the threads of the host program.
void grow(int threads) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (state->threads < threads) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, serve, nullptr) != 0) break;
    pthread_detach(thread);
    state->threads++;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// A fork has one thread, and whatever the others held is held for ever: all begins anew.
void start() { state = new (memory) State; }

__attribute__((constructor)) void load() {
  start();
  pthread_atfork(nullptr, nullptr, start);
}

}  // namespace

extern "C" void halo_rows(int64_t rows, int threads, Range range, void* what) {
  if (state->busy.test_and_set(std::memory_order_acquire)) {
    range(what, 0, rows);
    return;
  }
  if (threads > rows) threads = int(rows);
  grow(threads - 1);
  Job job;
  const int64_t ranges = SHARES * threads;
  job.range = range, job.what = what, job.rows = rows, job.size = (rows + ranges - 1) / ranges, job.next = 0;
  fegetenv(&job.rounding);
  job.wanted = threads - 1, job.working = 0;
  pthread_mutex_lock(&state->mutex);
  state->job = &job;
  for (int thread = 1; thread < threads; thread++) pthread_cond_signal(&state->begin);
  pthread_mutex_unlock(&state->mutex);
  work(&job);
  pthread_mutex_lock(&state->mutex);
  state->job = nullptr;  // whoever wakes now finds nothing to do
  while (job.working != 0) pthread_cond_wait(&state->end, &state->mutex);
  pthread_mutex_unlock(&state->mutex);
  state->busy.clear(std::memory_order_release);
}
