import type { Secret } from '../crypto/secret.ts';
import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, values } from '../db/table.ts';
import type { SourceKey } from './source.ts';
import { type SecretServices, secretRow } from './source-secret-store.ts';
import { SOURCE_SECRET } from './source-store.ts';

/** Sets the key by which the source charges, in the place of the one it has; null for none. */
export async function replaceChargeKey(
  services: SecretServices,
  { merchantId, sourceId }: SourceKey,
  chargeKey: Secret | null,
): Promise<void> {
  const source = { merchantId, sourceId };
  await DELETE_CHARGE_KEY.run(services.tx, source);
  if (chargeKey === null) return;
  await INSERT_CHARGE_KEY.run(
    services.tx,
    secretRow(services, source, { purpose: 'charge', plain: chargeKey.reveal() }),
  );
}

const DELETE_CHARGE_KEY = statement({
  params: { merchantId: text, sourceId: text },
  text: ({ merchantId, sourceId }) => `
    delete from source_secret
    where merchant_id = ${merchantId} and source_id = ${sourceId} and purpose = 'charge'`,
});

const INSERT_CHARGE_KEY = statement({
  params: SOURCE_SECRET.shape,
  text: (p) => `
    insert into source_secret (${columns(SOURCE_SECRET.shape)}) select ${values(SOURCE_SECRET.shape, p)}`,
});
