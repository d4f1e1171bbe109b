/**
 * The public API of pgtls; the only file that re-exports.
 */
export { type ConfigDiagnostic, ConfigError } from './config/diagnostics.ts';
export type * from './config/input.ts';
export {
  ERROR_CODES,
  type ErrorCodeDescription,
  PgtlsError,
  type PgtlsErrorCode,
} from './errors.ts';
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
export { createProxy, type PgtlsProxy } from './proxy/library/create-proxy.ts';
export type {
  DrainReport,
  PgtlsProxyEvent,
  PgtlsProxyEvents,
  ReloadReport,
} from './proxy/library/events.ts';
export type { PgtlsLogger } from './proxy/library/logger.ts';
export type { CreateProxyOptions, DrainOptions } from './proxy/library/options.ts';
export type { SessionReport, SessionTls } from './proxy/library/session-report.ts';
export type { PgtlsConfig, PgtlsConfigFile } from './proxy/library/source.ts';
export type {
  CertificateStatus,
  HandshakeStats,
  PgtlsProxyPhase,
  ProxyStats,
  ReloadStats,
  RouteStats,
} from './proxy/library/stats.ts';
export type { BoundAddress } from './proxy/running-proxy.ts';
