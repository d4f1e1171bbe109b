/**
 * Config → the options of the native side; a route's id is its place in the file.
 */
import type { BackendAddress, Config, ListenerConfig, ProxyConfig } from '../config/schema.ts';
import type {
  BackendOptions,
  DataPlaneOptions,
  KeepaliveOptions,
  ListenerOptions,
  ListenerTlsOptions,
  RouteOptions,
} from './data-plane.ts';

/** Options for the whole file; `reportTlsEstablished` asks for an event per handshake. */
export function toDataPlaneOptions(
  config: Config,
  reportTlsEstablished: boolean,
): DataPlaneOptions {
  return {
    workers: config.workers,
    maxClientConn: config.maxClientConn,
    maxConcurrentHandshakes: config.maxConcurrentHandshakes,
    reportTlsEstablished,
    routes: toRouteOptions(config),
  };
}

function toRouteOptions(config: Config): RouteOptions[] {
  return config.proxies.map(routeOptions);
}

function routeOptions(proxy: ProxyConfig, routeId: number): RouteOptions {
  const { listener } = proxy;
  return {
    routeId,
    name: proxy.name,
    maxClientConn: listener.maxClientConn,
    maxClientConnPerIp: listener.maxClientConnPerIp,
    listener: listenerOptions(listener),
    backend: backendOptions(proxy),
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
    caFile: listener.sslCaFile,
    clientCertificate: clientCertificate(listener),
    minVersion: listener.sslMinProtocolVersion,
    maxVersion: listener.sslMaxProtocolVersion,
    ciphers: [...listener.sslCiphers],
    groups: [...listener.sslGroups],
    alpn: [...listener.alpn],
  };
}

/** As PostgreSQL: a CA file alone asks for a certificate and verifies the one that is shown. */
function clientCertificate(listener: ListenerConfig): 'none' | 'request' | 'require' {
  if (listener.sslmode === 'verify-ca') {
    return 'require';
  }
  return listener.sslCaFile === null ? 'none' : 'request';
}

function backendOptions({ backend, listener }: ProxyConfig): BackendOptions {
  return {
    addresses: backend.addresses.map(backendAddress),
    sslmode: backend.sslmode,
    sslnegotiation: backend.sslnegotiation,
    sslrootcert: backend.sslrootcert,
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
