// Prints every file that requiring a subpath loads, one per line.
require(process.argv[2]);
for (const file of Object.keys(require.cache)) console.log(file);
