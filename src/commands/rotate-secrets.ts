import { locateDatabase } from '../config/data-dir.ts';
import { loadConfig } from '../config/env.ts';
import { SecretBox } from '../crypto/secret-box.ts';
import { createPool } from '../db/pool.ts';
import { resealSourceSecrets } from '../merchants/reencrypt.ts';
import { resealEndpointSecrets } from '../outgoing/embedded/reencrypt.ts';
import { createLogger } from '../telemetry/log.ts';
import { runCommand } from './command.ts';

const HELP = `Usage: npm run rotate-secrets

Encrypts every stored secret (of sources and of webhook endpoints) anew with the first key of ENCRYPTION_KEY. To change
the key: put a new one first (openssl rand -base64 32), keep the old one behind it, separated by a comma, and restart web
and worker; run this; then remove the old one and restart again. Running it twice changes nothing. Exits 1 if a secret
cannot be read with any of the keys; it stays as it is.`;

async function main(): Promise<void> {
  const { config, databaseUrl } = await locateDatabase(loadConfig());
  const box = new SecretBox(config.ENCRYPTION_KEY);
  if (!box.canSeal) {
    throw new Error('ENCRYPTION_KEY: wants the key to encrypt with, 32 random bytes (openssl rand -base64 32)');
  }
  const logger = createLogger(config.LOG_LEVEL, 'rotate-secrets');
  const pool = createPool({ databaseUrl, applicationName: 'chokin-rotate-secrets', maxConnections: 1, logger });
  try {
    const results = {
      'source secrets': await resealSourceSecrets(pool, box),
      'endpoint secrets': await resealEndpointSecrets(pool, box),
    };
    for (const [what, { current, resealed, unreadable }] of Object.entries(results)) {
      console.log(`${what}: ${resealed} encrypted anew, ${current} already were, ${unreadable.length} unreadable`);
      for (const problem of unreadable) console.log(`  ${problem}`);
      if (unreadable.length > 0) process.exitCode = 1;
    }
  } finally {
    await pool.end();
  }
}

if (import.meta.main) runCommand({ help: HELP, run: main });
