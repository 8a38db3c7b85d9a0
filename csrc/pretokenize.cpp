#include "pretokenize.h"
