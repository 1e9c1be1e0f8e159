import { type Reencrypted, reencrypt, type SecretBox, UnreadableSecretError } from '../crypto/secret-box.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { lockSecrets, replaceSealed } from './source-secret-store.ts';
import { type SecretPurpose, secretPlace } from './source-store.ts';

interface Place {
  readonly purpose: SecretPurpose;
  readonly place: string;
}

/** Encrypts again every source's secrets that the newest key did not encrypt, and hashes webhook secrets under it. */
export async function reencryptSourceSecrets(pool: Pool, box: SecretBox): Promise<Reencrypted> {
  return transaction(pool, async (tx) => {
    const stored = await lockSecrets(tx);
    const places = stored.map((secret) => ({
      purpose: secret.purpose,
      stored: secret.sealed,
      place: secretPlace(secret, secret.purpose),
      name: `source ${secret.sourceId}, secret ${secret.secretId}`,
    }));
    const { texts, result } = reencrypt(box, places);
    const replaced = stored.map((secret, index) => {
      const sealed = texts[index] ?? secret.sealed;
      return { ...secret, sealed, keyedHash: hashOf(box, sealed, places[index]) };
    });
    await replaceSealed(tx, replaced);
    return result;
  });
}

/** The hash of a webhook secret under the newest key; null for others, and for one that cannot be read. */
function hashOf(box: SecretBox, sealed: string, at: Place | undefined): Buffer | null {
  if (at === undefined || at.purpose !== 'webhook' || !box.isCurrent(sealed)) return null;
  const secret = box.tryToOpen(sealed, at.place);
  return secret instanceof UnreadableSecretError ? null : (box.keyedHashes(secret.reveal())[0] ?? null);
}
