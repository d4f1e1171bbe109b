/**
 * Config → the options of the native side; a route's id is its place in the file unless told otherwise.
 */
import type {
  BackendAddress,
  BackendConfig,
  Config,
  HostConfig,
  ListenerConfig,
  ProxyConfig,
} from '../config/schema.ts';
import type {
  BackendOptions,
  DataPlaneOptions,
  HookSet,
  KeepaliveOptions,
  ListenerOptions,
  ListenerTlsOptions,
  RouteOptions,
} from './data-plane.ts';

const NO_HOOKS: HookSet = {
  clientHello: false,
  clientCertificate: false,
  backendCertificate: false,
  route: false,
};

/**
 * Options for the whole file; `reportTlsEstablished` asks for an event per handshake, `hooks` for questions. `idOf` gives a
 * route's id by its name, where it shall outlive a change of the file.
 */
export function toDataPlaneOptions(
  config: Config,
  reportTlsEstablished: boolean,
  hooks: HookSet = NO_HOOKS,
  idOf: ((name: string) => number) | null = null,
): DataPlaneOptions {
  return {
    workers: config.workers,
    maxClientConn: config.maxClientConn,
    maxConcurrentHandshakes: config.maxConcurrentHandshakes,
    reportTlsEstablished,
    routes: config.proxies.map((proxy, index) =>
      routeOptions(proxy, idOf?.(proxy.name) ?? index, hooks),
    ),
  };
}

function routeOptions(proxy: ProxyConfig, routeId: number, hooks: HookSet): RouteOptions {
  const { listener } = proxy;
  return {
    routeId,
    name: proxy.name,
    maxClientConn: listener.maxClientConn,
    maxClientConnPerIp: listener.maxClientConnPerIp,
    listener: listenerOptions(listener),
    backend: backendOptions(proxy.backend, listener),
    backends: proxy.backends.map(({ name, backend }) => ({
      name,
      backend: backendOptions(backend, listener),
    })),
    rules: proxy.routes.map(({ user, database, backend }) => ({ user, database, backend })),
    hooks,
  };
}

function listenerOptions(listener: ListenerConfig): ListenerOptions {
  return {
    tls: listener.sslmode === 'disable' ? null : listenerTlsOptions(listener),
    requireTls: listener.sslmode === 'require' || listener.sslmode === 'verify-ca',
    clientIdleTimeoutMillis: listener.clientIdleTimeoutMillis,
    keepalive: keepaliveOptions(listener),
  };
}

function listenerTlsOptions(listener: ListenerConfig): ListenerTlsOptions {
  return {
    certFiles: [...listener.sslCertFiles],
    keyFiles: [...listener.sslKeyFiles],
    ocspFiles: [...listener.sslOcspFiles],
    passphraseCommand: listener.sslPassphraseCommand,
    hosts: listener.hosts.map(hostOptions),
    noSni: listener.noSni,
    caFile: listener.sslCaFile,
    crlFile: listener.sslCrlFile,
    userMapFile: listener.userMapFile,
    clientCertificate: clientCertificate(listener),
    minVersion: listener.sslMinProtocolVersion,
    maxVersion: listener.sslMaxProtocolVersion,
    ciphers: [...listener.sslCiphers],
    groups: [...listener.sslGroups],
    alpn: [...listener.alpn],
    sessionTickets: listener.sessionTickets,
    ticketKeyFile: listener.ticketKeyFile,
    ticketRotationMillis: listener.ticketRotationMillis,
  };
}

function hostOptions(host: HostConfig): ListenerTlsOptions['hosts'][number] {
  return {
    hostnames: [...host.hostnames],
    certFiles: [...host.sslCertFiles],
    keyFiles: [...host.sslKeyFiles],
    ocspFiles: [...host.sslOcspFiles],
    backend: host.backend,
  };
}

/** As PostgreSQL: a CA file alone asks for a certificate and verifies the one that is shown. */
function clientCertificate(listener: ListenerConfig): 'none' | 'request' | 'require' {
  if (listener.sslmode === 'verify-ca') {
    return 'require';
  }
  return listener.sslCaFile === null ? 'none' : 'request';
}

function backendOptions(backend: BackendConfig, listener: ListenerConfig): BackendOptions {
  return {
    addresses: backend.addresses.map(backendAddress),
    sslmode: backend.sslmode,
    sslnegotiation: backend.sslnegotiation,
    sslrootcert: backend.sslrootcert,
    sslcrl: backend.sslcrl,
    sslcert: backend.sslcert,
    sslkey: backend.sslkey,
    sslsni: backend.sslsni,
    minVersion: backend.sslMinProtocolVersion,
    maxVersion: backend.sslMaxProtocolVersion,
    connectTimeoutMillis: backend.connectTimeoutMillis,
    keepalive: keepaliveOptions(listener),
    loadBalanceHosts: backend.loadBalanceHosts,
    roles: backend.roles === null ? null : { ...backend.roles },
    warm: backend.warm === null ? null : { ...backend.warm },
    sendsProxyHeader: backend.proxyProtocol === 'v2',
    addsHostToApplicationName: backend.applicationNameAddHost,
  };
}

function backendAddress(address: BackendAddress): BackendOptions['addresses'][number] {
  return address.kind === 'unix'
    ? { kind: 'unix', host: address.path, port: 0 }
    : { kind: 'tcp', host: address.host, port: address.port };
}

function keepaliveOptions(listener: ListenerConfig): KeepaliveOptions {
  return {
    enabled: listener.tcpKeepalive,
    idleMillis: listener.tcpKeepidleMillis,
    intervalMillis: listener.tcpKeepintvlMillis,
    count: listener.tcpKeepcnt,
    userTimeoutMillis: listener.tcpUserTimeoutMillis,
  };
}
