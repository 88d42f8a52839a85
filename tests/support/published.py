"""Models of the shape and with the weight names of published ones, written from their descriptions: small,
random, and built of torch's own layers, to compare the towers with that are made of their weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 # as all the world calls it


class CtLayerNorm(nn.Module):
    """CT-CLIP's: named gamma and beta, beta a buffer."""

    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class CtPeg(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dsconv = nn.Conv3d(width, width, 3, groups=width)

    def forward(self, x, shape):
        volume = x.reshape(*shape, -1).movedim(-1, 1)
        return self.dsconv(F.pad(volume, (1, 1, 1, 1, 2, 0))).movedim(1, -1).reshape(x.shape)


class CtAttention(nn.Module):
    def __init__(self, width, heads, head_width):
        super().__init__()
        self.heads = heads
        self.norm, self.context_norm = CtLayerNorm(width), CtLayerNorm(width)
        self.null_kv = nn.Parameter(torch.randn(heads, 0, head_width))
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.q_scale = nn.Parameter(torch.ones(head_width))
        self.k_scale = nn.Parameter(torch.ones(head_width))
        self.to_out = nn.Linear(heads * head_width, width, bias=False)

    def forward(self, x, bias):
        q, (k, v) = self.to_q(self.norm(x)), self.to_kv(x).chunk(2, dim=-1)
        q, k, v = (t.reshape(*t.shape[:2], self.heads, -1).permute(0, 2, 1, 3) for t in (q, k, v))
        q, k = F.normalize(q, dim=-1) * self.q_scale, F.normalize(k, dim=-1) * self.k_scale
        scores = 8 * torch.einsum("bhid,bhjd->bhij", q, k)
        if bias is not None:
            scores = scores + bias
        out = torch.einsum("bhij,bhjd->bihd", scores.softmax(dim=-1), v)
        return self.to_out(out.reshape(*out.shape[:2], -1))


class CtGeglu(nn.Module):
    def forward(self, x):
        x, gate = x.chunk(2, dim=-1)
        return F.gelu(gate) * x


class CtTransformer(nn.Module):
    def __init__(self, width, depth, heads, head_width):
        super().__init__()
        inner = int(4 * (2 / 3) * width)
        self.layers = nn.ModuleList()
        for _ in range(depth):
            mlp = nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * inner, bias=False),
                CtGeglu(),
                nn.Dropout(0.0),
                nn.Linear(inner, width, bias=False),
            )
            layer = nn.ModuleDict({"0": CtPeg(width), "1": CtAttention(width, heads, head_width), "3": mlp})
            self.layers.append(layer)
        self.norm_out = CtLayerNorm(width)

    def forward(self, x, shape, bias=None):
        for layer in self.layers:
            x = layer["0"](x, shape) + x
            x = layer["1"](x, bias) + x
            x = layer["3"](x) + x
        return self.norm_out(x)


class CtBias(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.net = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.1)),
                nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.1)),
                nn.Linear(width, heads),
            ]
        )

    def forward(self, h, w):
        grid = torch.cartesian_prod(torch.arange(h), torch.arange(w)).float()
        x = grid[:, None] - grid[None]
        x = x.sign() * (x.abs() + 1).log()
        for layer in self.net:
            x = layer(x)
        return x.permute(2, 0, 1)


class CtCodebook(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.register_buffer("initted", torch.ones(1))
        self.register_buffer("cluster_size", torch.ones(1, size))
        self.register_buffer("embed", F.normalize(torch.randn(1, size, width), dim=-1))


class CtViT(nn.Module):
    """Volumes (N, 1, depth, H, W) to tokens (N, t, h, w, width) of the codebook."""

    def __init__(self, size, patch, width, heads=2, head_width=6, depth=2, codebook=12):
        super().__init__()
        self.patch = patch
        self.grid = tuple(s // p for s, p in zip(size, patch, strict=True))
        values = patch[0] * patch[1] * patch[2]
        layers = [nn.Identity(), nn.LayerNorm(values), nn.Linear(values, width), nn.LayerNorm(width)]
        self.to_patch_emb = nn.Sequential(*layers)
        self.to_pixels = nn.Sequential(nn.Linear(width, values))
        self.spatial_rel_pos_bias = CtBias(width, heads)
        self.enc_spatial_transformer = CtTransformer(width, depth, heads, head_width)
        self.enc_temporal_transformer = CtTransformer(width, depth, heads, head_width)
        self.vq = nn.ModuleDict({"_codebook": CtCodebook(width, codebook)})

    def forward(self, video):
        b, (t, h, w), (pt, ph, pw) = len(video), self.grid, self.patch
        x = video.unfold(2, pt, pt).unfold(3, ph, ph).unfold(4, pw, pw)  # (b, c, t, h, w, pt, ph, pw)
        x = self.to_patch_emb(x.movedim(1, 4).flatten(4))
        shape = (b, t, h, w)
        x = x.reshape(b * t, h * w, -1)
        x = self.enc_spatial_transformer(x, shape, self.spatial_rel_pos_bias(h, w)).reshape(*shape, -1)
        x = x.permute(0, 2, 3, 1, 4).reshape(b * h * w, t, -1)
        x = self.enc_temporal_transformer(x, shape).reshape(b, h, w, t, -1).permute(0, 3, 1, 2, 4)
        embed = self.vq["_codebook"].embed[0]
        return embed[torch.einsum("bthwd,cd->bthwc", F.normalize(x, dim=-1), embed).argmax(dim=-1)]


class CtClip(nn.Module):
    """CT-CLIP: CTViT, a BERT whose first token speaks, projections without bias."""

    def __init__(self, bert, vit, out):
        super().__init__()
        self.text_transformer, self.visual_transformer = bert, vit
        width = vit.vq["_codebook"].embed.shape[-1]
        places = vit.grid[1] * vit.grid[2]
        self.to_text_latent = nn.Linear(bert.config.hidden_size, out, bias=False)
        self.to_visual_latent = nn.Linear(places * width, out, bias=False)
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def image(self, volume):
        return self.to_visual_latent(self.visual_transformer(volume).mean(dim=1).flatten(1))

    def text(self, ids, mask):
        return self.to_text_latent(self.text_transformer(ids, attention_mask=mask).last_hidden_state[:, 0])


class CocaBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x, hidden):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=hidden.repeat_interleave(self.heads, 0), need_weights=False)[0]
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class CocaText(nn.Module):
    """CoCa's text transformer with a class token behind the tokens; which of them that sees is one place off,
    as in the published code."""

    def __init__(self, vocabulary, positions, width, heads, depth, out):
        super().__init__()
        self.text_projection = nn.Parameter(torch.randn(width, out))
        self.cls_emb = nn.Parameter(torch.randn(width))
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(positions, width))
        blocks = nn.ModuleList(CocaBlock(width, heads) for _ in range(depth))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_final = nn.LayerNorm(width)

    def forward(self, ids, pad):
        count, length = ids.shape
        x = torch.cat([self.token_embedding(ids), self.cls_emb.expand(count, 1, -1)], dim=1)
        x = x + self.positional_embedding[: length + 1]
        hidden = torch.ones(length + 1, length + 1).triu(1).bool().repeat(count, 1, 1)
        for row in range(count):
            for place in range(length):
                if ids[row, place] == pad:
                    hidden[row, length, place + 1] = True
        for block in self.transformer["resblocks"]:
            x = block(x, hidden)
        return self.ln_final(x[:, -1]) @ self.text_projection


class TimmBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = ((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
        x = x + self.attn["proj"](out.transpose(1, 2).reshape(b, n, c))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class TimmTrunk(nn.Module):
    """Tokens after the last norm, the class token first."""

    def __init__(self, size, patch, width, heads, depth):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, stride=patch)})
        self.blocks = nn.Sequential(*(TimmBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.norm(self.blocks(x))


class Pooler(nn.Module):
    """CoCa's attentional pooler."""

    def __init__(self, width, context, heads, queries):
        super().__init__()
        self.query = nn.Parameter(torch.randn(queries, width))
        self.attn = nn.MultiheadAttention(width, heads, kdim=context, vdim=context, batch_first=True)
        self.ln_q, self.ln_k = nn.LayerNorm(width), nn.LayerNorm(context)

    def forward(self, x):
        x = self.ln_k(x)
        return self.attn(self.ln_q(self.query).expand(len(x), -1, -1), x, x, need_weights=False)[0]


class Conch(nn.Module):
    """CONCH: a ViT of timm with attentional poolers, CoCa's text transformer, and an unused captioner."""

    def __init__(self, vocabulary, positions, width=16, out=12):
        super().__init__()
        self.text = CocaText(vocabulary, positions, width, 2, 2, out)
        self.visual = nn.Module()
        self.visual.trunk = TimmTrunk(32, 8, width, 2, 2)
        self.visual.attn_pool_contrast = Pooler(out, width, 3, 1)
        self.visual.ln_contrast = nn.LayerNorm(out)
        self.visual.proj_contrast = nn.Parameter(torch.randn(out, out))
        self.visual.attn_pool_caption = Pooler(width, width, 2, 4)
        self.visual.ln_caption = nn.LayerNorm(width)
        self.text_decoder = nn.Linear(width, vocabulary)
        self.logit_scale = nn.Parameter(torch.ones(()))

    def image(self, x):
        pooled = self.visual.attn_pool_contrast(self.visual.trunk(x))[:, 0]
        return self.visual.ln_contrast(pooled) @ self.visual.proj_contrast


class MerlBlock(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv1d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv1d(after, after, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm1d(after), nn.BatchNorm1d(after)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv1d(before, after, 1, stride, bias=False), nn.BatchNorm1d(after)
            )

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class MerlEncoder(nn.Module):
    """A one-dimensional ResNet-18 without pooling after its stem."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv1d(12, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        before = width
        for stage in range(4):
            after = width * 2**stage
            blocks = [MerlBlock(before, after, 1 if stage == 0 else 2), MerlBlock(after, after, 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            before = after
        self.linear = nn.Linear(before, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class MerlPool(nn.Module):
    def __init__(self, places, width, heads):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, places + 1, width))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.mhsa = nn.MultiheadAttention(width, heads, batch_first=True)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.transpose(1, 2)], dim=1)
        x = x + self.positional_embedding
        return self.c_proj(self.mhsa(x[:, :1], x, x)[0])[:, 0]


class Merl(nn.Module):
    """MERL: ECGs through a ResNet and an attention pool, texts through BERT's pooler and an MLP."""

    def __init__(self, bert, samples, width=4, out=6):
        super().__init__()
        self.ecg_encoder = MerlEncoder(width)
        self.downconv = nn.Conv1d(8 * width, out, 1)
        self.att_pool_head = MerlPool(-(-samples // 16), out, 2)
        self.linear1 = nn.Linear(out, out, bias=False)
        self.linear2 = nn.Linear(out, out, bias=False)
        self.lm_model = bert
        self.proj_t = nn.Sequential(nn.Linear(bert.config.hidden_size, 8), nn.GELU(), nn.Linear(8, out))

    def image(self, x):
        return self.att_pool_head(self.downconv(self.ecg_encoder(x)))

    def text(self, ids, mask):
        return self.proj_t(self.lm_model(ids, attention_mask=mask).pooler_output)
