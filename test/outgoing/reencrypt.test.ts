import { afterAll, beforeAll, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { endpointPlace, insertEndpoint } from '../../src/outgoing/embedded/endpoint-store.ts';
import { reencryptEndpointSecrets } from '../../src/outgoing/embedded/reencrypt.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT } from '../support/ledger.ts';
import { boxOf } from '../support/secrets.ts';

/** Endpoints' secrets under a new key, beside some that no key of the box opens. `test/security` aims at whose place each is sealed for. */

const keyOf = (name: string) => Buffer.alloc(32, name).toString('base64');
const [old, next, lost] = [keyOf('old'), keyOf('next'), keyOf('lost')];

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query(
    "insert into merchant (merchant_id, name, mode) values ($1, 'One', 'test') on conflict do nothing",
    [MERCHANT],
  );
});
afterAll(() => database.drop());

async function store(endpointId: string, key: string): Promise<void> {
  const secret = boxOf(key).sealIfPossible(`whsec_${endpointId}`, endpointPlace(MERCHANT, endpointId));
  const rest = { url: 'https://shop.example/hook', description: '', eventTypes: null, disabled: false };
  await transaction(database.pool, (tx) =>
    insertEndpoint(tx, { ...rest, merchantId: MERCHANT, endpointId, secret, now: new Date() }),
  );
}

it('are sealed with the newest key, once, and what no key opens stays as it is and is named', async () => {
  await store('ep_old', old);
  await store('ep_next', next);
  await store('ep_lost', lost);
  const box = boxOf(next, old);
  const first = await reencryptEndpointSecrets(database.pool, box);
  expect(first).toMatchObject({
    current: 1,
    reencrypted: 1,
    unreadable: [expect.stringContaining('endpoint ep_lost')],
  });
  const { rows } = await database.pool.query<{ endpoint_id: string; secret: string }>(
    'select endpoint_id, secret from webhook_endpoint where merchant_id = $1 order by 1',
    [MERCHANT],
  );
  const opened = rows
    .filter(({ endpoint_id }) => endpoint_id !== 'ep_lost')
    .map(({ endpoint_id, secret }) => boxOf(next).open(secret, endpointPlace(MERCHANT, endpoint_id)));
  expect(opened).toEqual(['whsec_ep_next', 'whsec_ep_old']);
  expect(await reencryptEndpointSecrets(database.pool, box)).toMatchObject({ current: 2, reencrypted: 0 });
});
