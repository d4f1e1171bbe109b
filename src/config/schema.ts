/**
 * The configuration as the rest of pgtls sees it: types only, every default filled in, every alias resolved,
 * every path absolute, every duration in milliseconds.
 *
 * Nothing here knows TOML; parse.ts makes these values.
 */

/** Lowest level that is logged. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** json for machines, pretty for people. */
export type LogFormat = 'json' | 'pretty';

/** A protocol version that can be demanded or capped. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** What a listener demands of its clients. */
export type ListenerSslmode = 'disable' | 'prefer' | 'require' | 'verify-ca';

/** What pgtls demands of a backend; libpq's words and meanings, without `allow`. */
export type BackendSslmode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/** How a client may start TLS: by SSLRequest, at once, or either. */
export type ListenerSslnegotiation = 'postgres' | 'direct' | 'any';

/** How pgtls starts TLS with a backend. */
export type BackendSslnegotiation = 'postgres' | 'direct';

/** Whether clients come through a load balancer that tells their addresses. */
export type ListenerProxyProtocol = 'off' | 'require';

/** Whether pgtls tells a backend whom it speaks for. */
export type BackendProxyProtocol = 'off' | 'v2';

/** In which order a backend's addresses are tried. */
export type LoadBalanceHosts = 'disable' | 'random';

/** Which servers of a backend sessions may go to; libpq's words and meanings. */
export type TargetSessionAttrs =
  | 'any'
  | 'read-write'
  | 'read-only'
  | 'primary'
  | 'standby'
  | 'prefer-standby';

/** Which servers sessions may go to, and who asks them for their role. */
export interface RoleConfig {
  targetSessionAttrs: Exclude<TargetSessionAttrs, 'any'>;
  probeUser: string;
  probePasswordFile: string | null;
  probeDatabase: string;
}

/** Connections made ahead. */
export interface WarmConfig {
  connections: number;
  maxAgeMillis: number;
}

/** Where a listener listens; `mode` and `group` null = the process's umask and group. */
export type BindAddress =
  | { kind: 'tcp'; host: string; port: number }
  | { kind: 'unix'; path: string; mode: number | null; group: string | null };

/** Where a backend is; a unix path names the socket itself, never its directory. */
export type BackendAddress =
  | { kind: 'tcp'; host: string; port: number }
  | { kind: 'unix'; path: string };

/** A whole configuration file. */
export interface Config {
  logLevel: LogLevel;
  logFormat: LogFormat;
  /** Data-plane threads; 0 = one per CPU available to the process. */
  workers: number;
  maxClientConn: number;
  maxConcurrentHandshakes: number;
  clientLoginTimeoutMillis: number;
  shutdownTimeoutMillis: number;
  shutdownDelayMillis: number;
  /** Whether certificate files and the configuration file are watched, besides SIGHUP. */
  reloadOnChange: boolean;
  /** null = there is no admin server. */
  admin: AdminConfig | null;
  proxies: readonly ProxyConfig[];
}

/** `[admin]`: metrics, health and status over HTTP. */
export interface AdminConfig {
  bindAddress: { kind: 'tcp'; host: string; port: number };
  /** null = HTTP without TLS. */
  identity: { certFile: string; keyFile: string } | null;
  /** File with the bearer token; null = none is asked for. */
  authTokenFile: string | null;
}

/** One `[[proxy]]`: a listener and the backend it leads to. */
export interface ProxyConfig {
  name: string;
  listener: ListenerConfig;
  backend: BackendConfig;
  /** Others, which hosts of the listener and `routes` lead to. */
  backends: readonly NamedBackendConfig[];
  /** The first that matches a startup packet decides. */
  routes: readonly RouteRuleConfig[];
}

/** `[proxy.backends.NAME]`. */
export interface NamedBackendConfig {
  name: string;
  backend: BackendConfig;
}

/** `[[proxy.route]]`; in patterns `*` stands for any characters, null = everything matches. */
export interface RouteRuleConfig {
  database: string | null;
  user: string | null;
  /** Name of the backend. */
  backend: string;
}

/** Chains, keys and OCSP responses. */
export interface IdentityFiles {
  /** Paired by index with `sslKeyFiles`. */
  sslCertFiles: readonly string[];
  sslKeyFiles: readonly string[];
  /** Paired by index with `sslCertFiles`, or empty. */
  sslOcspFiles: readonly string[];
}

/** `[[proxy.listener.host]]`: the identities for some server names. */
export interface HostConfig extends IdentityFiles {
  /** Lower case; `*.x` stands for one label. */
  hostnames: readonly string[];
  /** Name of the backend; null = as `routes` say. */
  backend: string | null;
}

/** `[proxy.listener]`: configured like a PostgreSQL server. Limits and keepalive numbers: 0 = the global or system one. */
export interface ListenerConfig extends IdentityFiles {
  bindAddresses: readonly BindAddress[];
  sslmode: ListenerSslmode;
  sslnegotiation: ListenerSslnegotiation;
  /** Prints the passphrase of encrypted keys. */
  sslPassphraseCommand: string | null;
  /** What a client without server name (SNI) gets: the certificate above, or an alert. */
  noSni: 'default' | 'refuse';
  hosts: readonly HostConfig[];
  sslCaFile: string | null;
  sslCrlFile: string | null;
  userMapFile: string | null;
  sslMinProtocolVersion: TlsVersion;
  /** null = the newest. */
  sslMaxProtocolVersion: TlsVersion | null;
  /** Empty = the provider's. */
  sslCiphers: readonly string[];
  sslGroups: readonly string[];
  alpn: readonly string[];
  /** TLS 1.3 tickets sent per handshake; 0 = no session is resumed. */
  sessionTickets: number;
  /** Keys of tickets, shared by instances; null = generated ones. */
  ticketKeyFile: string | null;
  /** Of generated keys. */
  ticketRotationMillis: number;
  certRefreshIntervalMillis: number;
  maxClientConn: number;
  maxClientConnPerIp: number;
  /** New connections per second and client address; 0 = no limit. */
  connRatePerIp: number;
  proxyProtocol: ListenerProxyProtocol;
  /** CIDR, or `unix:` for Unix-domain sockets. */
  trustedProxies: readonly string[];
  listenBacklog: number;
  soReuseport: boolean;
  tcpKeepalive: boolean;
  tcpKeepidleMillis: number;
  tcpKeepintvlMillis: number;
  tcpKeepcnt: number;
  tcpUserTimeoutMillis: number;
  /** A session without a byte in either direction for so long is ended; 0 = never. */
  clientIdleTimeoutMillis: number;
  /** CIDR; empty = all. */
  allow: readonly string[];
  /** CIDR; wins over `allow`. */
  deny: readonly string[];
}

/** `[proxy.backend]`: configured like a libpq client. */
export interface BackendConfig {
  /** Tried in order. */
  addresses: readonly BackendAddress[];
  sslmode: BackendSslmode;
  sslnegotiation: BackendSslnegotiation;
  /** A path, or `system`. */
  sslrootcert: string | null;
  sslcrl: string | null;
  sslcert: string | null;
  sslkey: string | null;
  sslsni: boolean;
  sslMinProtocolVersion: TlsVersion;
  /** null = the newest. */
  sslMaxProtocolVersion: TlsVersion | null;
  connectTimeoutMillis: number;
  loadBalanceHosts: LoadBalanceHosts;
  /** null = target_session_attrs is any. */
  roles: RoleConfig | null;
  /** null = warm_connections is 0. */
  warm: WarmConfig | null;
  proxyProtocol: BackendProxyProtocol;
  applicationNameAddHost: boolean;
}
