// Threads of the kernels: one small pool for the whole process.
//
// A region is a number of parts. The caller takes parts itself, lowest first, and so do the pool's threads as they come;
// a thread that the system does not run costs nothing but the part it had already taken. Idle threads spin for a few
// microseconds and then sleep, and so does a caller that waits for the last part. Beginning a region allocates nothing.
//
// A region that begins while another runs (from another thread, or inside a part) runs inline on its own thread. After
// fork the child has a pool of its own. Parts see the caller's rounding and denormal modes, so results depend neither on
// which thread takes a part nor on count(), as long as a part's work depends on its number alone.

#pragma once

namespace gatework::threads {

inline constexpr int kMost = 1024;

// Threads a parallel region may use, the caller included; >= 1. Before set_count: OMP_NUM_THREADS, else the processors
// this process may use.
int count();

// 1 <= n <= kMost; others are taken as the nearest of these. Regions that run go on as they are.
void set_count(int n);

// Calls work(context, part) once for each part in [0, parts), on the caller and up to count() - 1 pool threads; parts are
// claimed from an atomic counter, lowest first; returns when all are done. parts == 1 or count() == 1 runs inline, in order.
// Called from inside a part: runs inline. `work` must not throw.
void run(int parts, void (*work)(void* context, int part), void* context);

}  // namespace gatework::threads
