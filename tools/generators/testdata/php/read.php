<?php

// Reads a user, encoded in its standard input, with the code that protoc
// generated: php read.php GENERATED. Debian has no gRPC for PHP.

set_include_path($argv[1] . PATH_SEPARATOR . get_include_path());
spl_autoload_register(function (string $class): void {
    $file = stream_resolve_include_path(str_replace('\\', '/', $class) . '.php');
    if ($file !== false) {
        require_once $file;
    }
});

// Each file declares the class that it is named for.
foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator($argv[1])) as $file) {
    if ($file->isFile()) {
        require_once $file->getPathname();
    }
}

$user = new Clerkgate\V1\User();
$user->mergeFromString(stream_get_contents(STDIN));
$created = $user->getCreatedAt();
echo $user->getId(), "\n";
echo $user->getFirstName(), "\n";
echo $user->getEmailAddresses()[0]->getEmailAddress(), "\n";
echo $created->getSeconds() * 1000 + intdiv($created->getNanos(), 1000000), "\n";
echo 'private: ', json_encode($user->hasPrivateMetadataJson()), "\n";
