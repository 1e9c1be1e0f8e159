import { chooseBackend } from '../../src/db/backend.ts';
import { citusNodes } from './citus-cluster.ts';

// Every process of npm run test:citus.
if (citusNodes().length > 0) chooseBackend('citus');
