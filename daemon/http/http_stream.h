/*
 * HTTP stream
 *
 * HTTP/1.1 on one connection of a local caller, as a dialect of its transport (transport.h): each
 * request becomes the frame of a remoting request (http_request.h), and the frame that answers it
 * an HTTP answer (http_answer.h). So a connection is an ordinary session, and its requests are
 * admitted, completed, limited, logged and drained like all others; what is HTTP's own ends here.
 *
 *     HEAD -> BODY -> BUSY -> HEAD            the next request, where the connection is kept
 *                          -> LINGERING       the answer is given, and what still comes thrown
 *                                             away until the caller closes, or HTTP_LINGER_MS
 *
 * One request at a time: what comes behind it waits in the socket, but for what was read with it.
 * While a request is under way the socket is read all the same, so that a caller that goes is seen.
 *
 * The parser is http_parser 2.9 (libhttp-parser), which knows no sockets and calls us for what it
 * has read. evhttp (libevent 2.1.12) and libmicrohttpd (0.9.75) were tried, and take more than one
 * reading of the same bytes: lines that end in a bare LF, lines that are folded, a blank before the
 * colon, and two different Content-Length, of which the first counts; libmicrohttpd takes a CR in a
 * value and Content-Length beside Transfer-Encoding, too. Neither shows its user the bytes, so that
 * nothing could be done about it here. Both bring sockets, buffers and timers of their own, beside
 * the limits of sessions. http_parser is finished rather than developed: its authors have left it,
 * Debian mends it, and its successor llhttp has the same callbacks. It leaves few things open, and
 * since the bytes pass through our hands those are closed here: whatever is not body ends its lines
 * in CR LF and nothing else, has no NUL and no folded line; there are no trailers; the only
 * Transfer-Encoding is chunked; Host stands once, Expect says 100-continue. What is not so is
 * refused, and the connection is closed: what follows is never taken for a request.
 *
 * Bounded: head (HTTP_HEAD_MAX, HTTP_FIELDS_MAX), body (HTTP_BODY_MAX, limits.max_frame: refused by
 * what is announced, before it comes), what comes ahead of time (one read), silence between two
 * requests (http.idle_timeout). A request that comes slowly is the session's to end
 * (limits.header_timeout), as is an answer that is not read. Bodies, heads and answers count in
 * limits.total_memory.
 */
#pragma once

#include "daemon/http/http_answer.h"
#include "daemon/loop/transport.h"

#define HTTP_LINGER_MS 1000

/* NULL without memory. The limits are those of this connection from now on. */
struct transport_dialect *http_stream_new(
    struct loop *loop, struct memory *memory, int fd, size_t frame_limit, uint64_t idle_timeout_ms);
