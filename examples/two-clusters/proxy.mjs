/**
 * One address in front of two clusters. The server name (SNI) that a client asks for decides which certificate it sees and which cluster
 * it gets:
 *
 *   psql "host=orders.db.example  port=6432 sslmode=verify-full …"    → the orders cluster
 *   psql "host=billing.db.example port=6432 sslmode=verify-full …"    → the billing cluster
 *
 * Who names another host, or none, is refused: there is no certificate but those of the two.
 */
import process from 'node:process';
import { createProxy } from 'pgtls';

const {
  BILLING = 'billing.internal:5432',
  ORDERS = 'orders.internal:5432',
  PGTLS_BIND = '0.0.0.0:6432',
} = process.env;

const orders = { address: ORDERS, sslmode: 'verify-full', sslrootcert: 'backend-ca.crt' };
const billing = { ...orders, address: BILLING };

const proxy = createProxy({
  proxy: [
    {
      name: 'clusters',
      listener: {
        bind_address: PGTLS_BIND,
        sslmode: 'require',
        host: [
          {
            hostname: 'orders.db.example',
            ssl_cert_file: 'orders.crt',
            ssl_key_file: 'orders.key',
            backend: 'orders',
          },
          {
            hostname: 'billing.db.example',
            ssl_cert_file: 'billing.crt',
            ssl_key_file: 'billing.key',
            backend: 'billing',
          },
        ],
      },
      backend: orders, // every [[proxy]] has one; the hosts name theirs
      backends: { orders, billing },
    },
  ],
});

const addresses = await proxy.listen();
console.log('listening', addresses.map(({ address }) => address).join(', '));
process.once('SIGTERM', () => proxy.drain());
process.once('SIGINT', () => proxy.drain());
