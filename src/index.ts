/**
 * The public API of pgtls; the only file that re-exports.
 */
export { type LoadedConfig, loadConfig } from './config/parse.ts';
export type * from './config/schema.ts';
export {
  ERROR_CODES,
  type ErrorCodeDescription,
  PgtlsError,
  type PgtlsErrorCode,
} from './errors.ts';
export type { Logger, LoggerOptions } from './observability/logger.ts';
export {
  type ClientHello,
  type ClientHelloChoice,
  type HandshakenBackend,
  type HandshakenClient,
  type PeerCertificate,
  type ProxyHooks,
  type Refusal,
  refuse,
  type SessionStart,
} from './proxy/hooks.ts';
export { createLogger, flushLog } from './proxy/process-log.ts';
export {
  type BoundAddress,
  type Proxy,
  type ProxyDependencies,
  type ProxySnapshot,
  startProxy,
} from './proxy/proxy.ts';
export type { ConfigSource, SourceConfig } from './proxy/reload.ts';
export type { ProxyPhase, ProxyState } from './proxy/state.ts';
