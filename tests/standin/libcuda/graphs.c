/* Graphs: what a stream captured, to be launched again. */
#include "libcuda.h"
#include <stdlib.h>

API CUresult cuStreamBeginCapture_v2(CUstream handle, int mode)
{
    (void)mode;
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream || stream == &default_stream)
        return leave(stream ? CAPTURE_UNSUPPORTED : INVALID_HANDLE);
    if (stream->capturing)
        return leave(INVALID_VALUE);
    stream->graph = calloc(1, sizeof *stream->graph);
    stream->graph->alive = 1;
    stream->capturing = 1;
    counters[GRAPHS]++;
    return leave(OK);
}

API CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream || !stream->capturing)
        return leave(stream ? INVALID_VALUE : INVALID_HANDLE);
    stream->capturing = 0;
    *graph = stream->graph;
    stream->graph = NULL;
    return leave(OK);
}

API CUresult cuStreamIsCapturing(CUstream handle, int *status)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    *status = stream->capturing;
    return leave(OK);
}

static void copy_nodes(const struct queue *from, struct queue *to)
{
    for (const struct operation *o = from->first; o; o = o->next) {
        struct operation *again = malloc(sizeof *again);
        *again = *o;
        append(to, again);
    }
}

static void destroy_nodes(struct queue *queue)
{
    struct operation *o;
    while ((o = take(queue)))
        free(o);
}

API CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    (void)flags;
    ENTER();
    if (!graph || !graph->alive)
        return leave(INVALID_VALUE);
    *exec = calloc(1, sizeof **exec);
    (*exec)->alive = 1;
    copy_nodes(&graph->nodes, &(*exec)->nodes);
    counters[GRAPH_EXECS]++;
    return leave(OK);
}

API CUresult cuGraphLaunch(CUgraphExec exec, CUstream handle)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream || !exec || !exec->alive)
        return leave(INVALID_HANDLE);
    if (stream->capturing)
        return leave(CAPTURE_UNSUPPORTED);
    counters[GRAPH_LAUNCHES]++;
    if (stream == &default_stream)
        drain_blocking();
    copy_nodes(&exec->nodes, &stream->todo);
    return leave(OK);
}

API CUresult cuGraphUpload(CUgraphExec exec, CUstream handle)
{
    ENTER();
    return leave(stream_of(handle) && exec && exec->alive ? OK : INVALID_HANDLE);
}

API CUresult cuGraphGetNodes(CUgraph graph, void **nodes, size_t *count)
{
    ENTER();
    if (!graph || !graph->alive || nodes)
        return leave(nodes ? NOT_SUPPORTED : INVALID_VALUE);
    *count = 0;
    for (struct operation *o = graph->nodes.first; o; o = o->next)
        ++*count;
    return leave(OK);
}

static CUresult destroy_graph(struct graph *graph, int counter)
{
    if (!graph || !graph->alive)
        return INVALID_VALUE;
    destroy_nodes(&graph->nodes);
    graph->alive = 0;
    counters[counter]--;
    return OK;
}

API CUresult cuGraphDestroy(CUgraph graph)
{
    ENTER_BROKEN_TOO();
    return leave_broken(destroy_graph(graph, GRAPHS));
}

API CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    ENTER_BROKEN_TOO();
    drain_all();
    return leave_broken(destroy_graph(exec, GRAPH_EXECS));
}
