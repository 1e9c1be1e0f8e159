import { locateDatabase } from '../config/data-dir.ts';
import { loadConfig } from '../config/env.ts';
import { DatabaseClock } from '../db/database-clock.ts';
import { requireBackend } from '../db/suitable.ts';
import { autocommit } from '../db/transaction.ts';
import { reencryptSourceSecrets } from '../merchants/reencrypt.ts';
import { reencryptEndpointSecrets } from '../outgoing/embedded/reencrypt.ts';
import { Runtime } from '../runtime.ts';
import { createLogger } from '../telemetry/log.ts';
import { runCommand } from './command.ts';

const HELP = `Usage: npm run rotate-secrets

Encrypts every stored secret (of sources and of webhook endpoints) anew with the first key of ENCRYPTION_KEY. To change
the key: put a new one first (openssl rand -base64 32), keep the old one behind it, separated by a comma, and restart web
and worker; run this; then remove the old one and restart again. Running it twice changes nothing. Exits 1 if a secret
cannot be read with any of the keys; it stays as it is.`;

async function main(): Promise<void> {
  const { config, databaseUrl } = await locateDatabase(loadConfig());
  const logger = createLogger(config.LOG_LEVEL, 'rotate-secrets');
  const name = 'chokin-rotate-secrets';
  const runtime = new Runtime({ config, databaseUrl, logger, clock: new DatabaseClock(), name, maxConnections: 1 });
  const { box } = runtime;
  if (!box.canSeal) {
    throw new Error('ENCRYPTION_KEY: wants the key to encrypt with, 32 random bytes (openssl rand -base64 32)');
  }
  try {
    await requireBackend(autocommit(runtime.pool));
    const results = {
      'source secrets': await reencryptSourceSecrets(runtime.pool, box),
      'endpoint secrets': await reencryptEndpointSecrets(runtime.pool, box),
    };
    for (const [what, { current, reencrypted, unreadable }] of Object.entries(results)) {
      console.log(`${what}: ${reencrypted} encrypted anew, ${current} already were, ${unreadable.length} unreadable`);
      for (const problem of unreadable) console.log(`  ${problem}`);
      if (unreadable.length > 0) process.exitCode = 1;
    }
  } finally {
    await runtime.close();
  }
}

if (import.meta.main) runCommand({ help: HELP, run: main });
