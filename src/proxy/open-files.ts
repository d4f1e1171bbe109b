/**
 * max_client_conn against the limit of open files: Node.js closes what it accepts without a word once no descriptor is
 * left, so the limit on connections, which clients are told of, must be the lower one.
 */
import type { Config } from '../config/schema.ts';
import type { Logger } from '../observability/logger.ts';

/** For listeners, logs, certificate files, timers and threads of the runtime. */
const RESERVED_FILES = 64;
/** A session has a socket on each leg. */
const FILES_PER_SESSION = 2;

/** The configuration with as many connections as `openFiles` allow, null = unknown; a warning says so where they are fewer. */
export function withinOpenFiles(config: Config, openFiles: number | null, logger: Logger): Config {
  if (openFiles === null) {
    return config;
  }
  const room = Math.floor((openFiles - RESERVED_FILES) / FILES_PER_SESSION);
  const maxClientConn = Math.max(1, Math.min(config.maxClientConn, room));
  if (maxClientConn === config.maxClientConn) {
    return config;
  }
  const needed = config.maxClientConn * FILES_PER_SESSION + RESERVED_FILES;
  logger.warn(
    {
      event: 'limits',
      configured: config.maxClientConn,
      max_client_conn: maxClientConn,
      open_files: openFiles,
    },
    `max_client_conn is lowered: it needs ${needed} open files (ulimit -n, LimitNOFILE=)`,
  );
  return { ...config, maxClientConn };
}
